"""Finds a fast schedule for each kernel: search, measurement, database, final choice."""
