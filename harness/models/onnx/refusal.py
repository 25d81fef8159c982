"""What a converter of ONNX operators raises for a form that it does not support."""

from __future__ import annotations


class Unsupported(Exception):
    """A form of an operator that is not supported; the text says which, without the operator."""
