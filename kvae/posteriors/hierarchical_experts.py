"""A hierarchical posterior that combines one expert for each modality in every layer."""

import tensorflow as tf
from keras import layers, ops

from kvae.distributions.gaussian import gaussian_kl, gaussian_log_prob
from kvae.distributions.gaussian_chain import GaussianChain
from kvae.layers.sampling import reparameterize
from kvae.posteriors.experts import ProductOfExperts
from kvae.posteriors.of_groups import OfGroups
from kvae.posteriors.of_hierarchy import OfHierarchy
from kvae.posteriors.posterior import register

__all__ = ["HierarchicalExperts"]


@register()
class HierarchicalExperts(OfGroups, OfHierarchy):
    """`q(z|x) = Π_l q(z_l|x, z_<l)`, `q(z_l|x, z_<l) ∝ p(z_l|z_<l) Π_m q_m(z_l|x_m, z_<l)`.

    The posterior of MHVAE: layers of latents, drawn top down, and in each of them a product of the
    prior's Gaussian and one of each modality that is present. So every subset of the modalities has
    a posterior, down to none, which is the prior. It goes with a `kvae.priors.Hierarchical` of the
    same groups and a standard normal top, whose networks it shares. Each decoder sees the last
    group alone, so what the groups above know has to come through it. `objective="mhvae"`
    trains it; the KL of each group given those above it is the closed form.

    Args:
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.
        groups: int, or sequence of the groups' sizes, the top one first. Defaults to `2`, of about
            equal size.
        features_dim: int. What the lower groups see of each modality. Defaults to `128`.
        hidden: sequence of int. Widths of the network of each modality in each lower group.
            Defaults to `(128,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"relu"`.
        log_var_bound: float. Bound of the log-variances. Defaults to `20.0`.

    Parameters: those of `ProductOfExperts` for the top group; `features`, `[batch, modalities,
    features_dim]`; and `present`, `[batch, modalities]`, 1 or 0.

    Raises:
        ValueError: in a model of one modality, for encoders of several, for sizes that do not add
            up, and for another prior.

    Example:

    ```python
    vae = kvae.VAE(
        encoders={"image": image_encoder, "label": label_encoder},
        decoders={"image": image_decoder, "label": label_decoder},    # of 6 latents each
        likelihood={"image": "bernoulli", "label": "categorical:10"},
        latent_dim=8,
        posterior=kvae.posteriors.HierarchicalExperts(groups=(2, 6)),
        prior=kvae.priors.Hierarchical(groups=(2, 6)),
        objective="mhvae",
    )
    ```

    Measured:
        - With the objective `mhvae`, see there.

    Reference:
        - [Dorent et al., Unified Brain MR-Ultrasound Synthesis using Multi-Modal Hierarchical
          Representations, eq. 3 to 5](https://arxiv.org/abs/2309.08747)
    """

    def seen_by(self, z, modality: str):
        """Returns the latents that the decoder of a modality sees, the last group."""
        return z[..., -self.sizes[-1] :]

    def build(self, features_shape):
        self.top = ProductOfExperts(self.sizes[0], log_var_bound=self.log_var_bound, name="top")
        self.top.build(features_shape)
        settings = (self.sizes, self.hidden, self.activation, self.features_dim)
        self.readers, self.chains = [], []
        for number, shape in enumerate(features_shape["experts"]):
            reader = layers.Dense(self.features_dim, name=f"features_{number}", dtype=self.dtype)
            reader.build(_flat(shape))
            chain = GaussianChain(*settings, self.log_var_bound, name=f"expert_{number}")
            chain.build()
            self.readers.append(reader)
            self.chains.append(chain)
        self.built = True

    def call(self, features, training=False):
        seen = [
            reader(ops.reshape(own, (-1, _flat(own.shape)[-1])))
            for reader, own in zip(self.readers, features["experts"], strict=True)
        ]
        params = self.top(features, training=training)
        return {**params, "features": ops.stack(seen, axis=1)}

    def given(self, params, present) -> dict:
        """Returns the parameters of q(z|x) for other modalities, as `Experts.given` does."""
        return {"features": params["features"], **self.top.given(params, present)}

    def expert(self, params, number: int) -> dict:
        """Returns the mean and log-variance of one expert of the top group."""
        return self.top.expert(params, number)

    def parameter_shapes(self):
        top, count = self.top.parameter_shapes(), len(self.chains)
        return {**top, "features": (count, self.features_dim)}

    def params_of(self, prior):
        if self.is_of(prior):
            # Where no expert counts, each group is that of the prior.
            return {"z_mean": 0.0, "z_log_var": 0.0, "present": 0.0}
        return {}

    def transform(self, params, noise):
        noise = tf.split(noise["noise"], self.sizes, axis=-1)
        z = reparameterize(params["z_mean"], params["z_log_var"], noise[0])
        for index, epsilon in enumerate(noise[1:]):
            own = reparameterize(*self._group(params, index, z)[0], epsilon)
            z = ops.concatenate([z, own], axis=-1)
        return z

    def mean(self, params):
        """Returns the most probable group after the most probable group above, as `z`.

        E[z] of the lower groups has no closed form.
        """
        none = ops.zeros_like(params["z_mean"][:, :1]) * ops.zeros((self.latent_dim,))
        return self.transform(params, {"noise": none})

    def log_prob(self, params, z):
        return sum(gaussian_log_prob(*q, group) for q, _, group in self._groups(params, z))

    def kl_of_groups(self, params, z):
        """Returns KL(q(z_l | x, z_<l) ‖ p(z_l | z_<l)) of each group, at the z above it.

        Their mean over draws of z, summed over the groups, is the KL of q and p.

        Args:
            params: dict. Parameters.
            z: tensor `[..., batch, latent_dim]`.

        Returns:
            Tensor `[..., batch, groups]`, in nats.
        """
        each = [ops.sum(gaussian_kl(*q, *p), axis=-1) for q, p, _ in self._groups(params, z)]
        return ops.stack(each, axis=-1)

    def _groups(self, params, z) -> list[tuple]:
        """Returns the means and log-variances of q and of p of each group, and its z."""
        first, *lower = tf.split(z, self.sizes, axis=-1)
        zero = ops.zeros_like(first)
        found, done = [((params["z_mean"], params["z_log_var"]), (zero, zero), first)], first
        for index, group in enumerate(lower):
            found.append((*self._group(params, index, done), group))
            done = ops.concatenate([done, group], axis=-1)
        return found

    def _group(self, params, index: int, before) -> tuple:
        """Returns mean and log-variance of q and those of p of group `index + 1`."""
        each = [self.below(index, before)]
        each += [
            chain.after(index, before, params["features"][:, number])
            for number, chain in enumerate(self.chains)
        ]
        means, log_vars = (ops.stack(values, axis=-2) for values in zip(*each, strict=True))
        there = ops.cast(params["present"], "bool")
        there = ops.concatenate([ops.ones_like(there[:, :1]), there], axis=-1)
        product = ProductOfExperts(means.shape[-1], prior_expert=False)
        found = product.combined(means, log_vars, there)
        return (found["z_mean"], found["z_log_var"]), each[0]


def _flat(shape) -> tuple:
    """Returns the shape of features as one row each."""
    width = 1
    for size in shape[1:]:
        width *= size
    return (None, width)
