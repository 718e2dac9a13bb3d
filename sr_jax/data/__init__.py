"""Training data: where images come from, how they are degraded, how batches are drawn."""
