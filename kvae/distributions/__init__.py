"""Densities and draws that posteriors and priors share, as functions of tensors."""
