"""What the networks become for an H100 and a TPU, read from XLA's programs; no device is needed."""
