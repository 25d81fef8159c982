"""The error of a converter of PyTorch's operators for an unsupported form."""

from __future__ import annotations


class Unsupported(Exception):
    """A form of an operator that is not supported; the text says which, without the operator."""
