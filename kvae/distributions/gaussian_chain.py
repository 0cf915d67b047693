"""Groups of latents, each of which is Gaussian given the groups before it."""

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_log_prob, standard_log_density
from kvae.layers.dense import dense_network
from kvae.layers.sampling import reparameterize
from kvae.parts import Part

__all__ = ["GaussianChain", "group_sizes"]


def group_sizes(latent_dim: int, groups) -> tuple[int, ...]:
    """Returns the sizes of the groups that `latent_dim` latents make, the top one first.

    Args:
        latent_dim: int.
        groups: int, for groups of about equal size, or a sequence of sizes.

    Raises:
        ValueError: when the sizes do not add up, or a group would be empty.
    """
    if isinstance(groups, int):
        if not 2 <= groups <= latent_dim:
            raise ValueError(
                f"{latent_dim} latents make 2 to {latent_dim} groups, not {groups}. A hierarchy "
                "has at least two."
            )
        small, larger = divmod(latent_dim, groups)
        return tuple(small + (index < larger) for index in range(groups))
    if len(groups) < 2 or min(groups) < 1 or sum(groups) != latent_dim:
        raise ValueError(
            f"Groups of {list(groups)} latents do not make a hierarchy of {latent_dim}: give at "
            "least two positive sizes that add up."
        )
    return tuple(groups)


class GaussianChain(Part):
    """`Π_l N(z_l; mean_l, exp(log_var_l))`, both functions of z_1 … z_{l−1} and a context.

    The posterior or prior that has the chain draws the first group. Each function is a dense
    network of its own.

    Args:
        sizes: sequence of int. Sizes of all groups, the first one included.
        hidden: sequence of int. Widths of the networks.
        activation: str. A Keras activation, or `"gated"`.
        context_dim: int. Size of the context; `0` for none.
        log_var_bound: float. Bound of the log-variances.
        star: bool. Whether each depends on z_1 alone. Defaults to `False`.
    """

    def __init__(
        self, sizes, hidden, activation, context_dim=0, log_var_bound=20.0, star=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.star = star
        self.sizes, self.hidden, self.activation = tuple(sizes), tuple(hidden), activation
        self.context_dim, self.log_var_bound = context_dim, log_var_bound

    def build(self, input_shape=None):
        if self.built:
            return
        self.networks = [
            dense_network(
                self.context_dim + sum(self.sizes[: 1 if self.star else index]),
                self.hidden,
                self.activation,
                2 * self.sizes[index],
                name=f"group_{index}",
                dtype=self.dtype,
            )
            for index in range(1, len(self.sizes))
        ]
        self.built = True

    def transform(self, first, noise, context=None):
        """Returns all latents `[..., latent_dim]`.

        Args:
            first: tensor `[..., sizes[0]]`. The first group.
            noise: tensor `[..., latent_dim - sizes[0]]` from N(0, I), for the others.
            context: tensor `[batch, context_dim]`.
        """
        return self.transform_and_log_prob(first, noise, context)[0]

    def transform_and_log_prob(self, first, noise, context=None):
        """Returns what `transform` and, of its latents, `log_prob` do, by one pass of each network.

        Args:
            first, noise, context: as of `transform`.
        """
        z, total = first, 0.0
        for index, epsilon in enumerate(self._split(noise)):
            mean, log_var = self.after(index, z, context)
            z = ops.concatenate([z, reparameterize(mean, log_var, epsilon)], axis=-1)
            total = total + ops.sum(standard_log_density(epsilon) - 0.5 * log_var, axis=-1)
        return z, total

    def log_prob(self, z, context=None):
        """Returns the log-density in nats, `[...]`, of all groups but the first, given it."""
        total, done = 0.0, self.sizes[0]
        for index, size in enumerate(self.sizes[1:]):
            parameters = self.after(index, z[..., :done], context)
            total = total + gaussian_log_prob(*parameters, z[..., done : done + size])
            done += size
        return total

    def _split(self, noise):
        return tf.split(noise, self.sizes[1:], axis=-1)

    def after(self, index: int, before, context=None):
        """Returns mean and log-variance of group `index + 1`, given the latents before it.

        Args:
            index: int, from 0.
            before: tensor `[..., sizes[0] + … + sizes[index]].
            context: tensor `[batch, context_dim]`.
        """
        inputs = before[..., : self.sizes[0]] if self.star else before
        if context is not None:
            # Sums broadcast as shapes do, and every export format knows them.
            of_inputs, of_context = (ops.zeros_like(one[..., :1]) for one in (inputs, context))
            inputs = ops.concatenate([context + of_inputs, inputs + of_context], axis=-1)
        network = self.networks[index]
        flat = tf.reshape(inputs, (-1, network.input_shape[-1]))
        outputs = tf.reshape(
            network(flat), tf.concat([tf.shape(inputs)[:-1], [network.output_shape[-1]]], axis=0)
        )
        mean, log_var = tf.split(outputs, 2, axis=-1)
        return mean, ops.clip(log_var, -self.log_var_bound, self.log_var_bound)
