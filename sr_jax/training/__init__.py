"""What a training step is made of: losses, optimisers, state, checkpoints. No loop."""
