"""What happens in `fit`: its checks, its steps, and blocks of steps in one call."""
