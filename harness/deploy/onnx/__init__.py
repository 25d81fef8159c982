"""Canonical networks as ONNX models, which other engines run."""
