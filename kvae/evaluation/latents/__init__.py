"""What do the latent variables say about the data?

- `summary`: the rate, active units and mutual information.
- `probes`: how well simple classifiers find the labels in the codes.
"""
