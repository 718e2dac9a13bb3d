"""The local page of `sr-jax view`: images dropped on it, before and after under one slider."""
