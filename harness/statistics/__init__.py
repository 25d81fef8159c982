"""Statistics of latency samples and of scores."""
