"""Published checkpoints: PyTorch state dicts both ways, MATLAB and Keras files inwards."""
