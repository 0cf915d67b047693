"""The base of objectives that compare the codes of a batch with draws from the prior."""

import tensorflow as tf

from kvae import random, schedules
from kvae.objectives.bound import Bound, check_aggregate
from kvae.parts import to_write

__all__ = ["Matching", "Wasserstein"]


class Matching(Bound):
    """An objective whose loss holds a distance between the aggregate posterior q(z) and the prior.

    The codes of a batch, one draw for each example, are compared with as many draws from the prior.
    The distance is in the logs by the name that the class gives as `measure`, the same for every
    example of the batch. Under a distribution strategy the batch is that of a replica.

    A new one gives `measure`, `distance` and `cost`.

    Args:
        num_samples: int. Samples of `z` for each `x`, over which the distance is averaged. Defaults
            to `1`.
        kl: str. How the reported KL is computed, see `kvae.objectives.Bound`. Defaults to
            `"auto"`.
    """

    measure = "distance"

    def attach(self, vae):
        super().attach(vae)
        check_aggregate(self, vae)

    def metric_names(self):
        return (*super().metric_names(), self.measure)

    @to_write
    def distance(self, vae, z, drawn, seed):
        """Returns how far codes are from draws of the prior, `[num_samples]`.

        Args:
            vae: `kvae.VAE`.
            z: tensor `[num_samples, batch, latent_dim]`.
            drawn: tensor of the same shape, drawn from the prior.
            seed: of the step.
        """
        raise NotImplementedError

    def discrepancy(self, vae, z, seed):
        """Returns the distance of `z` `[num_samples, batch, latent_dim]` and the prior.

        A tensor `[batch]` of one number, averaged over the samples.
        """
        shape = tf.shape(z)
        drawn = vae.prior.sample(shape[0] * shape[1], random.fold_in(seed, 1))
        value = self.distance(vae, z, tf.reshape(drawn, shape), seed)
        return tf.fill([shape[1]], tf.reduce_mean(value))


class Wasserstein(Matching):
    """A matching whose loss is `−E_q log p(x|z) + λ distance(q(z), p(z))`, without a KL.

    Args:
        lambda_: float or schedule (`kvae.schedules`). Weight of the distance. Defaults to `10.0`.
        **settings: of the class beside which this one is a base.
    """

    def __init__(self, lambda_: schedules.Number = 10.0, **settings):
        super().__init__(**settings)
        self.lambda_ = schedules.resolve("lambda_", lambda_)

    def scheduled(self):
        return {"lambda_": self.lambda_}

    def cost(self, vae, params, z, kl, *, seed):
        value = self.discrepancy(vae, z, seed)
        return schedules.at(self.lambda_, vae) * value, {self.measure: value}

    def get_config(self):
        return {**super().get_config(), "lambda_": schedules.serialize(self.lambda_)}
