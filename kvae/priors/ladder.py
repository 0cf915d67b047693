"""The prior of a ladder: groups of latents, each given the state of the path above it."""

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_log_density
from kvae.distributions.ladder import mean_and_log_var, sum_of_group, top_down_of
from kvae.layers.sampling import reparameterize
from kvae.layers.top_down import Path, TopDown, configs_of, networks_of, remember
from kvae.priors.prior import Prior, register

__all__ = ["Ladder"]


@register()
class Ladder(Prior):
    """`p(z) = N(z_1; 0, I) Π_l N(z_l; mean(s_{l−1}), var(s_{l−1}))`: groups, from the top down.

    The states s come from the model's decoder, a `kvae.layers.TopDown`, so that the prior shares
    its path; the prior's own are the networks from a state to mean and log-variance. `temperature`
    scales the noise of all groups.

    Args:
        networks: sequence of keras.Model, one for each group but the top one. From the state
            `[n, …]` to `[n, *shape]` with twice as many entries on the last axis: means, then
            log-variances.
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.
        log_var_bound: float. The log-variances lie within ± this, by a tanh. Defaults to `10.0`.

    Raises:
        ValueError: with the model, for a decoder that is no `TopDown`, and for networks whose
            number or outputs do not fit its groups.

    Example:

    ```python
    prior = kvae.priors.Ladder([keras.Sequential([keras.Input((8,)), keras.layers.Dense(6)])])
    ```

    References:
        - [Sønderby et al., Ladder Variational Autoencoders, section 2](
          https://arxiv.org/abs/1602.02282)
        - [Vahdat & Kautz, NVAE, section 3](https://arxiv.org/abs/2007.03898)
    """

    def __init__(
        self, networks, latent_dim: int | None = None, log_var_bound: float = 10.0, **kwargs
    ):
        super().__init__(latent_dim, **kwargs)
        self.networks, self.log_var_bound = networks_of(networks), log_var_bound

    def attach(self, vae):
        decoder = top_down_of(self, vae, self.networks, above=1)
        # It stands behind a function, so that Keras does not track it.
        self._decoder = lambda: decoder

    def get_build_config(self):
        return None  # Its networks are built.

    def of_state(self, index: int, state, like, training: bool = False):
        """Returns mean and log-variance of group `index` given the state before it.

        Args:
            index: int. From 0, the top group.
            state: what the path knows before the group; `None` for the top.
            like: tensor of the shape of the group's latents.
            training: bool. Whether layers such as dropout act as in training.
        """
        if index == 0:
            zeros = ops.zeros_like(like)
            return zeros, zeros
        return mean_and_log_var(
            self.networks[index - 1](state, training=training), self.log_var_bound
        )

    def of_path(self, path: Path) -> list:
        """Returns mean and log-variance of every group on a path, which remembers them."""
        if id(self) not in path.parameters:
            found = [
                self.of_state(index, state, z, path.training)
                for index, (state, z) in enumerate(zip(path.states, path.groups, strict=True))
            ]
            path.parameters[id(self)] = self, found
        return path.parameters[id(self)][1]

    def transform(self, noise, temperature=1.0):
        decoder: TopDown = self._decoder()
        lead = tf.shape(noise["noise"])[:-1]
        groups = decoder.split(ops.reshape(noise["noise"], (-1, self.latent_dim)))

        def draw(index, state):
            own = self.of_state(index, state, groups[index])
            return reparameterize(*own, temperature * groups[index])

        path = decoder.walk(draw)
        z = ops.reshape(path.flat(), tf.concat([lead, [self.latent_dim]], 0))
        remember(z, path)
        return z

    def log_prob(self, z):
        path = self._decoder().path(z)
        each = [
            sum_of_group(gaussian_log_density(*own, group))
            for own, group in zip(self.of_path(path), path.groups, strict=True)
        ]
        return ops.reshape(sum(each), tf.shape(z)[:-1])

    def get_config(self):
        return {
            **super().get_config(),
            "networks": configs_of(self.networks),
            "log_var_bound": self.log_var_bound,
        }
