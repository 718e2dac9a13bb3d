"""From image to image with a trained network: colour, alpha, range, rounding."""
