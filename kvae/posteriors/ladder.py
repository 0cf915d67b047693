"""The posterior of a ladder: bidirectional inference over groups of latents."""

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_kl, gaussian_log_density
from kvae.distributions.ladder import mean_and_log_var, sum_of_group, top_down_of
from kvae.layers.sampling import reparameterize
from kvae.layers.top_down import Path, TopDown, configs_of, networks_of, remember
from kvae.posteriors.posterior import Posterior, register

__all__ = ["Ladder"]


@register()
class Ladder(Posterior):
    """`q(z|x) = q(z_1|x) Π_l q(z_l | x, s_{l−1})`: groups of latents, drawn from the top down.

    An encoder goes up from x and returns features for each group. On the way down each group is
    Gaussian given its features and the state of the model's decoder, a `kvae.layers.TopDown`, which
    knows the groups above: posterior, prior and decoder share this path. With a
    `kvae.priors.Ladder` the posterior is told relative to the prior,
    `mean_q = mean_p + σ_p Δ`, `log_var_q = log_var_p + δ`, so that it starts where the prior is and
    the KL of a group given those above it, `½ Σ (e^δ + Δ² − 1 − δ)`, depends on the networks'
    outputs alone. With other priors it is told relative to N(0, I).

    `kl="auto"` of an objective sums these KLs in closed form, at the z that are drawn, and
    `free_bits` are those of each group.

    Args:
        networks: sequence of keras.Model, one for each group, the top one first. The first takes
            its features, the others `[features, state]`; each returns `[n, *shape]` with twice as
            many entries on the last axis: Δ, then δ.
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.
        log_var_bound: float. δ lies within ± this, by a tanh. Defaults to `10.0`.

    Parameters: `features_0`, `features_1`, …, of the shapes that the networks take. An encoder
    returns them by name.

    Raises:
        ValueError: with the model, for a decoder that is no `TopDown`, and for networks whose
            number or outputs do not fit its groups; from `kvae.VAE.with_prior`, for another prior
            than the one that it is relative to.

    Example:

    ```python
    vae = zoo.build(
        "ladder_vae", event_shape=(8, 8, 1), filters=(8, 8), latents=(1, 2), groups=(1, 1)
    )
    vae.posterior.parameter_shapes()  # {"features_0": (2, 2, 8), "features_1": (4, 4, 8)}
    ```

    References:
        - [Sønderby et al., Ladder Variational Autoencoders, section 2](
          https://arxiv.org/abs/1602.02282)
        - [Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, section
          3.2](https://arxiv.org/abs/1606.04934): bidirectional inference
        - [Vahdat & Kautz, NVAE, section 3.2](https://arxiv.org/abs/2007.03898): relative to p
    """

    fully_amortized = False

    def __init__(
        self, networks, latent_dim: int | None = None, log_var_bound: float = 10.0, **kwargs
    ):
        super().__init__(latent_dim, **kwargs)
        self.networks, self.log_var_bound = networks_of(networks), log_var_bound

    def attach(self, vae):
        super().attach(vae)
        decoder = top_down_of(self, vae, self.networks)
        # Behind functions, so that Keras does not track them.
        self._decoder = lambda: decoder
        prior = vae.prior if hasattr(vae.prior, "of_state") else None
        self._prior = lambda: prior

    def with_prior(self, prior):
        own = self._prior()
        if prior is not own and (own is not None or hasattr(prior, "of_state")):
            raise ValueError(
                "The posterior of a ladder is relative to the prior that it was trained with. "
                "Build a model with the other prior, and train it."
            )
        return self

    def parameter_shapes(self):
        return {
            f"features_{index}": tuple(network.inputs[0].shape[1:])
            for index, network in enumerate(self.networks)
        }

    def transform(self, params, noise):
        return self._drawn(params, noise["noise"], False)

    def sample(self, params, num_samples=None, *, seed, training=False):
        noise = self.draw_noise(params, num_samples, seed)
        return self._drawn(params, noise["noise"], training)

    def mean(self, params):
        """Returns the most probable group after the most probable group above, as `z`.

        E[z] of the lower groups has no closed form.
        """
        batch = tf.shape(params["features_0"])[0]
        return self.transform(params, {"noise": tf.zeros([batch, self.latent_dim])})

    def log_prob(self, params, z):
        return sum(self._of_groups(params, z, lambda q, p, group: gaussian_log_density(*q, group)))

    def kl_of_groups(self, params, z):
        """Returns KL(q(z_l | x, z_<l) ‖ p(z_l | z_<l)) of each group, at the z above it.

        Their mean over draws of z, summed over the groups, is the KL of q and p.

        Args:
            params: dict. The parameters, `[batch, ...]`.
            z: tensor `[..., batch, latent_dim]`.

        Returns:
            Tensor `[..., batch, groups]`, in nats, or `None` with another prior than a ladder's.
        """
        if self._prior() is None:
            return None
        return ops.stack(self._of_groups(params, z, lambda q, p, group: gaussian_kl(*q, *p)), -1)

    def get_config(self):
        return {
            **super().get_config(),
            "networks": configs_of(self.networks),
            "log_var_bound": self.log_var_bound,
        }

    def _drawn(self, params, noise, training):
        decoder: TopDown = self._decoder()
        lead = tf.shape(noise)[:-1]
        features = self._rows(params, len(noise.shape), lead)
        noise = decoder.split(ops.reshape(noise, (-1, self.latent_dim)))
        found = []

        def draw(index, state):
            found.append(self._of_state(index, features[index], state, noise[index], training))
            return reparameterize(*found[-1][0], noise[index])

        path = decoder.walk(draw, training)
        self._keep(path, params, found)
        z = ops.reshape(path.flat(), tf.concat([lead, [self.latent_dim]], 0))
        remember(z, path)
        return z

    def _keep(self, path: Path, params, found: list) -> None:
        """Lets a path remember mean and log-variance of q, and those of p, of each group."""
        path.parameters[id(self)] = params["features_0"], [q for q, _ in found]
        prior = self._prior()
        if prior is not None:
            path.parameters[id(prior)] = prior, [p for _, p in found]

    def _of_state(self, index: int, features, state, like, training: bool):
        """Returns mean and log-variance of q, and those of p, of a group given the state."""
        network, prior = self.networks[index], self._prior()
        outputs = network(features if index == 0 else [features, state], training=training)
        shift, log_ratio = mean_and_log_var(outputs, self.log_var_bound)
        if prior is None or index == 0:
            zeros = ops.zeros_like(like)
            return (shift, log_ratio), (zeros, zeros)
        mean, log_var = prior.of_state(index, state, like, training)
        return (reparameterize(mean, log_var, shift), log_var + log_ratio), (mean, log_var)

    def _of_groups(self, params, z, function) -> list:
        """Returns the sums of `function(q, p, group)` over each group, `[..., batch]`."""
        shapes = [tf.shape(z)[:-1], tf.shape(params["features_0"])[:1]]
        lead = tf.broadcast_dynamic_shape(*shapes)
        path = self._decoder().path(self._broadcast(z, lead, shapes))
        kept = path.parameters.get(id(self))
        prior = self._prior()
        if kept is None or kept[0] is not params["features_0"]:
            features = self._rows(params, len(z.shape), lead)
            found = [
                self._of_state(index, features[index], state, group, path.training)
                for index, (state, group) in enumerate(zip(path.states, path.groups, strict=True))
            ]
            self._keep(path, params, found)
        q = path.parameters[id(self)][1]
        p = q if prior is None else prior.of_path(path)
        return [
            ops.reshape(sum_of_group(function(*each)), lead)
            for each in zip(q, p, path.groups, strict=True)
        ]

    def _broadcast(self, z, lead, shapes):
        if z.shape[-2:-1] != (1,):  # The rows of z are those of the parameters.
            return z
        return tf.broadcast_to(z, tf.concat([lead, [self.latent_dim]], 0))

    def _rows(self, params, rank: int, lead) -> list:
        """Returns the features `[n, …]` for each of the rows with the leading axes `lead`."""
        features = [params[name] for name in self.parameter_shapes()]
        if rank == 2:
            return features
        return [
            ops.reshape(tf.broadcast_to(each, tf.concat([lead, shape], 0)), (-1, *shape))
            for each, shape in zip(features, self.parameter_shapes().values(), strict=True)
        ]
