"""How probable is the data under the model? Estimates of log p(x), and their units.

- `importance`: importance sampling with the encoder's posterior as the proposal.
- `annealed`: annealed importance sampling, which checks the former.
- `log_prob`: the logarithm of a mean of weights, its error, its bias and its diagnostics.
- `cache`: estimates that go on where they were interrupted.
- `bits`: bits per dimension, and dequantization.
"""
