"""Verifies and measures: outputs, latency in interleaved rounds, memory, kernels, accuracy."""
