"""Settings for the KL of an objective: a weight, a target capacity, free bits."""

import tensorflow as tf
from keras import ops

from kvae import divergences, schedules
from kvae.objectives.objective import Objective

__all__ = ["Regularized", "excess"]


class Regularized(Objective):
    """An objective whose loss holds a KL divergence, or another rate in nats.

    Args:
        beta: float or schedule (`kvae.schedules`, or any Keras `LearningRateSchedule`). Weight of
            the KL. Defaults to `1.0`.
        capacity: float, schedule or `None`. A target C in nats for the batch's mean KL: the loss
            then holds `beta * |KL − C|`. Defaults to `None`.
        free_bits: float. λ in nats: a dimension (or group) whose mean KL over the batch is below
            λ costs λ and is not pushed further down. Defaults to `0.0`.
        free_bits_groups: int or `None`. With `None` each latent dimension has its own λ, which
            takes a closed-form KL that is a sum over dimensions; in a ladder each group does. With
            an integer G the latents form G equal groups in their order; `1` leaves λ nats free in
            total, which works with every posterior and prior.

    Under a distribution strategy the batch of `capacity` and `free_bits` is that of a replica.

    References:
        - [Higgins et al., β-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
        - [Burgess et al., Understanding disentangling in β-VAE, eq. 8](
          https://arxiv.org/abs/1804.03599)
        - [Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow,
          appendix C.8](https://arxiv.org/abs/1606.04934)
    """

    def __init__(
        self,
        beta: schedules.Number = 1.0,
        capacity: float | None = None,
        free_bits: float = 0.0,
        free_bits_groups: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.beta = schedules.resolve("beta", beta)
        self.capacity = None if capacity is None else schedules.resolve("capacity", capacity)
        if not free_bits >= 0:
            raise ValueError(f"`free_bits` is at least 0, in nats, not {free_bits!r}.")
        if free_bits and capacity is not None:
            raise ValueError("`free_bits` and `capacity` contradict each other: choose one.")
        if free_bits_groups is not None and free_bits_groups < 1:
            raise ValueError(f"`free_bits_groups` is None or at least 1, not {free_bits_groups}.")
        self.free_bits, self.free_bits_groups = free_bits, free_bits_groups

    def attach(self, vae):
        super().attach(vae)
        groups = self.free_bits_groups
        if self.free_bits and groups != 1:
            if groups is not None and vae.latent_dim % groups:
                raise ValueError(
                    f"{vae.latent_dim} latent dimensions make no {groups} equal groups."
                )

    def prepare(self, vae):
        super().prepare(vae)
        if self.free_bits and self.free_bits_groups != 1:
            prior = vae.prior
            if getattr(prior, "conditional", False) and vae.num_classes is not None:
                prior = prior.conditioned_on(tf.zeros([1], tf.int32))  # As for any other label.
            if self._own_groups(vae) is not None:
                return
            if divergences.kl_per_dimension(vae.posterior, prior) is None:
                raise ValueError(
                    f"The KL between {type(vae.posterior).__name__} and "
                    f"{type(vae.prior).__name__} is no sum over latent dimensions, so no bits can "
                    "be left free in each. Use free_bits_groups=1: free bits in total."
                )

    def scheduled(self):
        return {"beta": self.beta, "capacity": self.capacity}

    def penalized(self, vae, params, kl, z=None):
        """Returns what the loss holds of the KL, `[batch]`.

        Args:
            vae: `kvae.VAE`.
            params: dict. The posterior's parameters.
            kl: tensor `[batch]`. The KL divergence in nats, or an estimate of it.
            z: tensor `[num_samples, batch, latent_dim]`, where it was estimated.
        """
        beta = schedules.at(self.beta, vae)
        if self.capacity is not None:
            return beta * excess(kl, schedules.at(self.capacity, vae))
        if not self.free_bits:
            return beta * kl
        groups = kl[:, None]
        own = None if z is None else self._own_groups(vae)
        if own is not None:
            groups = ops.mean(own(params, z), axis=0)
        elif self.free_bits_groups != 1:
            groups = divergences.kl_per_dimension(vae.posterior, vae.prior)(params)
            if self.free_bits_groups is not None:
                width = vae.latent_dim // self.free_bits_groups
                groups = ops.sum(ops.reshape(groups, (-1, self.free_bits_groups, width)), axis=-1)
        # The mean over the batch of each column is max(λ, mean KL).
        pays = ops.mean(groups, axis=0, keepdims=True) > self.free_bits
        return beta * ops.sum(ops.where(pays, groups, self.free_bits), axis=-1)

    def _own_groups(self, vae):
        """Returns the KL of each group of a ladder, where these have the free bits."""
        if self.free_bits_groups is not None:
            return None
        return divergences.kl_of_groups(vae.posterior, vae.prior)

    def get_config(self):
        return {
            **super().get_config(),
            "beta": schedules.serialize(self.beta),
            "capacity": schedules.serialize(self.capacity),
            "free_bits": self.free_bits,
            "free_bits_groups": self.free_bits_groups,
        }


def excess(kl, capacity):
    """Returns numbers `[batch]` whose mean is |mean KL − C|, and has its gradient."""
    over = kl - capacity
    return ops.sign(ops.stop_gradient(ops.mean(over))) * over
