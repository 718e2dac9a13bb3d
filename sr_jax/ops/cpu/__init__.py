"""The forms that XLA:CPU needs; nothing outside `sr_jax.ops` knows of them."""
