"""The step `quantize`: layers of a network compute in 8-bit integers."""
