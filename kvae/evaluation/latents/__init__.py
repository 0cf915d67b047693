"""Measures of the latents: their use, their KL divergences, and probes that read labels from them.

- `summary`: the rate, active units and mutual information.
- `probes`: how well simple classifiers find the labels in the codes.
"""
