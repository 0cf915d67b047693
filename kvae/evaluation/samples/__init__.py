"""How good are the examples that the model generates?

- `quality`: `sample_quality`, one call for all of the figures.
- `features`: the spaces in which images are compared, by name.
- `frechet`: the Fréchet distance between two sets of features.
- `neighbors`: precision, recall, density and coverage; copies of training examples.
"""
