"""Kernels that TVM lacks, or has in a form that cannot be made fast."""
