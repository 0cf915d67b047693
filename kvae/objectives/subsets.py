"""The base of objectives that draw z from the posteriors of several subsets of the modalities."""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.objectives.elbo import ELBO
from kvae.parts import to_write
from kvae.posteriors import DiagonalGaussian
from kvae.utils import arguments, names

__all__ = ["OfSubsets", "check_experts", "modality_weights"]


class _Seen(NamedTuple):
    """The posterior, the draws and the densities of a batch, given a subset of the modalities.

    Attributes:
        there: tensor `[batch, modalities]`. 1 for what is in the subset, 0 for the rest.
        params: dict. The parameters of q(z|x_S).
        log_p: tensor `[batch, modalities]`. E_q log p(x_m|z) in nats, 0 for what is absent.
        kl: tensor `[batch]`. KL(q(z|x_S) ‖ p(z)) in nats.
        z: tensor `[num_samples, batch, latent_dim]`, drawn from q(z|x_S).
    """

    there: tf.Tensor
    params: dict
    log_p: tf.Tensor
    kl: tf.Tensor
    z: tf.Tensor


class OfSubsets(ELBO):
    """Objectives that weigh what the posteriors of several subsets of the modalities reconstruct.

    A new one gives `total`, and where it needs more than all modalities and each alone, `subsets`.
    Encoders run once. The reported `elbo`, `reconstruction` and `kl` are those of all modalities of
    an example, without any weights, a bound of log p(x_1, …, x_M).

    Args:
        weights: mapping from names of modalities to the weight of log p(x_m|z), or `None`: 1 for
            all. An image of 784 pixels outweighs a label, which a weight of 10 to 50 for the label
            counters.
        **settings: those of `kvae.objectives.ELBO`.
    """

    of_modalities = True
    gaussian = False  # Whether the posterior has to be a Gaussian.
    # Where it is true, the terms of fewer modalities do not train decoders, likelihoods and prior.
    frozen = False

    def __init__(self, weights: Mapping[str, float] | None = None, **settings):
        super().__init__(**settings)
        self.factors = dict(weights or {})

    def attach(self, vae):
        super().attach(vae)
        check_experts(self, vae, gaussian=self.gaussian)
        modality_weights(self.factors, vae)

    @to_write
    def total(self, vae, weights, seen: list[_Seen]):
        """Returns the loss in nats, `[batch]`, without the posterior's penalty.

        Args:
            vae: `kvae.VAE`.
            weights: float32 array `[modalities]`.
            seen: list of what the subsets say, that of all modalities first.
        """
        raise NotImplementedError

    def subsets(self, present, seed) -> list:
        """Returns what is present of each subset, `[batch, modalities]`, all of it first."""
        count = present.shape[-1]
        return [present, *(present * np.eye(count, dtype="float32")[m] for m in range(count))]

    def terms(self, vae, x, target, *, training, seed):
        params = vae.encode_params(x, training=training)
        subsets = self.subsets(params["present"], seed)
        owns, drawn, kls = [], [], []
        for number, there in enumerate(subsets):
            own = params if number == 0 else vae.posterior.given(params, there)
            with _held(vae, self.frozen and number > 0):
                z, kl = self.draw(vae, own, seed=random.fold_in(seed, number), training=training)
            owns.append(own)
            drawn.append(z)
            kls.append(kl)
        together = [drawn[:1], drawn[1:]] if self.frozen else [drawn]
        log_ps = []
        for number, zs in enumerate(together):
            with _held(vae, number > 0):
                outputs = vae.decode_params(ops.concatenate(zs, axis=0), training=training)
                log_p = vae.likelihood.log_prob_by_modality(outputs, target)
            log_ps += [ops.mean(each, axis=0) for each in ops.split(log_p, len(zs), axis=0)]
        seen = [_Seen(*each) for each in zip(subsets, owns, log_ps, kls, drawn, strict=True)]
        loss = self.total(vae, modality_weights(self.factors, vae), seen)
        reconstruction, kl = -ops.sum(log_ps[0], axis=-1), kls[0]
        return self.reported(vae, params, loss, reconstruction, kl)

    def bound(self, vae, weights, seen: _Seen):
        """Returns −ELBO(x_S) in nats, `[batch]`, with β and with weights of the modalities."""
        rate = self.penalized(vae, seen.params, seen.kl, seen.z)
        return rate - ops.sum(weights * seen.there * seen.log_p, axis=-1)

    def get_config(self):
        return {**super().get_config(), "weights": dict(self.factors)}


def _held(vae, held: bool):
    """Returns a context in which decoders, likelihoods and prior have no gradients, if `held`."""
    if not held:
        return contextlib.nullcontext()
    parts = (vae.decoder, vae.likelihood, vae.prior)
    variables = [variable for part in parts for variable in part.trainable_variables]
    return keras.StatelessScope([(each, ops.stop_gradient(each.value)) for each in variables])


def check_experts(objective, vae, gaussian: bool = False) -> None:
    """Refuses models without several modalities, or whose posterior does not combine experts.

    Args:
        objective: `Objective`, whose name the error has. Where it is `of_joint_expert`, the
            posterior has to have an expert of all modalities.
        vae: `kvae.VAE`.
        gaussian: bool. Whether the posterior has to be a Gaussian as well. Defaults to `False`.

    Raises:
        ValueError: with the posterior to choose.
    """
    name, posterior = type(objective).__name__, vae.posterior
    if not vae.modalities or not posterior.of_modalities:
        raise ValueError(
            f"{name} compares the posteriors of single modalities: make the model with "
            "encoders={…} and a posterior of experts, e.g. posterior='product_of_experts'."
        )
    if gaussian and not isinstance(posterior, DiagonalGaussian):
        raise ValueError(
            f"{name} takes closed forms of Gaussians, which {type(posterior).__name__} is not: use "
            "posterior='product_of_experts' or 'joint_experts'."
        )
    if objective.of_joint_expert and not getattr(posterior, "joint", False):
        raise ValueError(
            f"{name} trains the posterior of all modalities apart from those of single ones: end "
            "`encoders` with one of all of them, ('image', 'label'): …, and use "
            "posterior='joint_experts' or 'flow_experts'."
        )


def modality_weights(weights: Mapping[str, float], vae) -> np.ndarray:
    """Returns the weight of each modality of a model, 1 where none is given, float32 `[M]`.

    Raises:
        ValueError: for the name of no modality, and for a weight that is no number of at least 0.
    """
    for key, value in weights.items():
        if key not in vae.modalities:
            raise names.unknown_name("modality", key, vae.modalities)
        arguments.number(f"weights[{key!r}]", value, least=0.0)
    return np.array([weights.get(key, 1.0) for key in vae.modalities], "float32")
