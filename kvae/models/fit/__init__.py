"""Training: `fit` and its checks, the training step, and blocks of steps in one call."""
