"""Malformed inputs, made from a seed, and what every command must do with them."""
