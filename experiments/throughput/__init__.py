"""Speed of the networks against plain-PyTorch twins on the same device."""
