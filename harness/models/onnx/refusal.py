"""The error of a converter of ONNX operators for an unsupported form."""

from __future__ import annotations


class Unsupported(Exception):
    """A form of an operator that is not supported; the text says which, without the operator."""


BINDING = "; 'layeredge models bind' writes the model with an input as a constant"
"""What helps where the value of an input decides what is computed."""
