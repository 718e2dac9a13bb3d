"""Images as arrays: colour, MATLAB-compatible resizing, quality metrics, and files.

Each module stands alone and imports nothing else of the project outside this package; importing
`sr_jax.imaging.files`, `color` or `metrics` imports neither JAX nor TensorFlow.
"""
