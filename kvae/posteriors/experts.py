"""Posteriors that combine one expert for each modality, of which any may be absent."""

import itertools

import numpy as np
from keras import ops

from kvae.distributions.gaussian import draw_from_mixture, gaussian_log_prob
from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.gaussian_mixture import GaussianMixture
from kvae.posteriors.posterior import Posterior, register
from kvae.utils import arguments

__all__ = [
    "Experts",
    "JointExperts",
    "MixtureOfExperts",
    "MixtureOfProducts",
    "ProductOfExperts",
    "log_weights",
]

# The logarithm of the weight of what is absent, beside which precisions of exp(±20) are all.
_ABSENT = -100.0
_MOST_EXPERTS = 8  # Whose products are all mixed: 2^8 − 1 components.


class Experts(Posterior):
    """A posterior made of Gaussian experts `q_i(z|x) = N(z; expert_means_i, exp(…log_vars_i))`.

    In a model of several modalities (`kvae.VAE(encoders={…})`) each encoder's features make the
    parameters of an expert, and the experts of absent modalities count for nothing. Where nothing
    of an example is present, q(z|x) is the prior N(0, I). An encoder of a single network makes the
    parameters of all experts, which are then all present.

    A new one gives `combined`.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        num_experts: int or `None`. Defaults to `None`: as many as there are encoders, or 1.
        log_var_bound: float. Bound of `|expert_log_vars|`. Defaults to `20.0`.
        reads: list of lists of int, or `None`. The numbers of the modalities that each expert
            reads, all of which have to be present. `kvae.VAE` sets it. Defaults to `None`: each
            expert reads one, in their order.

    Parameters: `expert_means` and `expert_log_vars`, both `[batch, experts, latent_dim]`, and
    `present`, `[batch, modalities]`, 1 or 0; beside them those that `combined` makes.
    """

    of_modalities = True
    joint = False  # Whether the last encoder reads all modalities, and is z's where they are there.

    def __init__(
        self,
        latent_dim: int | None = None,
        num_experts: int | None = None,
        log_var_bound: float = 20.0,
        reads=None,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_experts = arguments.whole_or_none("num_experts", num_experts)
        self.log_var_bound = log_var_bound
        self.reads = None if reads is None else [list(each) for each in reads]

    def combined(self, means, log_vars, there) -> dict:
        """Returns the parameters of q(z|x) by name.

        Args:
            means, log_vars: tensors `[batch, experts, latent_dim]`.
            there: bool tensor `[batch, experts]`. The experts that count.
        """
        raise NotImplementedError

    def given(self, params, present) -> dict:
        """Returns the parameters of q(z|x) for other modalities that are present.

        Args:
            params: dict. Parameters.
            present: tensor `[batch, modalities]`, 1 or 0.
        """
        means, log_vars = params["expert_means"], params["expert_log_vars"]
        there = ops.cast(present, "bool")
        if self.reads is not None:
            there = ops.stack(
                [ops.all(ops.take(there, each, axis=-1), axis=-1) for each in self.reads], axis=-1
            )
        return {
            "expert_means": means,
            "expert_log_vars": log_vars,
            "present": ops.cast(present, self.dtype),
            **self.combined(means, log_vars, there),
        }

    def expert(self, params, number: int) -> dict:
        """Returns the mean and log-variance of one expert, as those of a `DiagonalGaussian`."""
        return {
            "z_mean": params["expert_means"][:, number],
            "z_log_var": params["expert_log_vars"][:, number],
        }

    def expert_log_prob(self, params, number: int, z):
        """Returns log q_m(z|x_m) of one expert in nats, `[..., batch]`."""
        own = self.expert(params, number)
        return gaussian_log_prob(own["z_mean"], own["z_log_var"], z)

    def parameter_shapes(self):
        shape = (self.num_experts or 1, self.latent_dim)
        return {"expert_means": shape, "expert_log_vars": shape}

    def build(self, features_shape):
        several = isinstance(features_shape, dict) and "experts" in features_shape
        if not several:
            self.num_experts = self.num_experts or 1
            super().build(features_shape)
            return
        shapes = features_shape["experts"]
        if self.joint and (self.reads is None or len(set(self.reads[-1])) < self._modalities()):
            raise ValueError(
                f"{type(self).__name__} takes z from the last encoder alone where it can, and that "
                "one does not read all modalities: end `encoders` with one that does, "
                "('image', 'label'): …, or use posterior='product_of_experts'."
            )
        if self.num_experts not in (None, len(shapes)):
            raise ValueError(
                f"{type(self).__name__} has num_experts={self.num_experts}, and the model has "
                f"{len(shapes)} encoders."
            )
        self.num_experts = len(shapes)
        self.experts = [
            DiagonalGaussian(self.latent_dim, self.log_var_bound, name=f"expert_{number}")
            for number in range(len(shapes))
        ]
        for expert, shape in zip(self.experts, shapes, strict=True):
            expert.build(shape)
        self.built = True

    def call(self, features, training=False):
        if not (isinstance(features, dict) and "experts" in features):
            return super().call(features, training=training)
        each = [
            expert(own, training=training)
            for expert, own in zip(self.experts, features["experts"], strict=True)
        ]
        return self.constrain(
            {
                "expert_means": ops.stack([one["z_mean"] for one in each], axis=1),
                "expert_log_vars": ops.stack([one["z_log_var"] for one in each], axis=1),
                "present": features["present"],
            }
        )

    def constrain(self, params):
        bound = self.log_var_bound
        means, log_vars = params["expert_means"], params["expert_log_vars"]
        present = params["present"] if "present" in params else ops.ones_like(means[..., 0])
        log_vars = ops.clip(log_vars, -bound, bound)
        return self.given({"expert_means": means, "expert_log_vars": log_vars}, present)

    def params_of(self, prior):
        if prior is None or not prior.standard_normal:
            return {}
        # All that there are, whatever `combined` calls them.
        zero = ops.zeros((1, self.num_experts, self.latent_dim))
        means_and_log_vars = {"expert_means": zero, "expert_log_vars": zero}
        known = self.given(means_and_log_vars, ops.zeros((1, self._modalities())))
        return dict.fromkeys(known, 0.0)

    def _modalities(self) -> int:
        if self.reads is None:
            return self.num_experts
        return 1 + max(number for each in self.reads for number in each)

    def get_config(self):
        own = {} if self.reads is None else {"reads": self.reads}
        return {
            **Posterior.get_config(self),
            "num_experts": self.num_experts,
            "log_var_bound": self.log_var_bound,
            **own,
        }


class _Products(Experts):
    """Experts whose products are taken, with the prior N(0, I) among them or not."""

    def __init__(self, latent_dim: int | None = None, prior_expert: bool = False, **settings):
        super().__init__(latent_dim, **settings)
        self.prior_expert = prior_expert

    def product(self, means, log_vars, there) -> tuple:
        """Returns mean and log-variance of the product of the Gaussians that are there.

        It is N(0, I) where there are none.

        Args:
            means, log_vars: tensors `[..., experts, latent_dim]`.
            there: bool tensor `[..., experts]`.
        """
        logits = ops.where(there[..., None], -log_vars, _ABSENT)  # Logarithms of the precisions.
        prior = ops.zeros_like(logits[..., :1, :])
        if not self.prior_expert:
            none = ops.logical_not(ops.any(there, axis=-1))[..., None, None]
            prior = ops.where(none, prior, _ABSENT)
        logits = ops.concatenate([prior, logits], axis=-2)
        weights = ops.softmax(logits, axis=-2)[..., 1:, :]
        return ops.sum(weights * means, axis=-2), -ops.logsumexp(logits, axis=-2)

    def get_config(self):
        return {**super().get_config(), "prior_expert": self.prior_expert}


@register("product_of_experts")
class ProductOfExperts(_Products, DiagonalGaussian):
    """`q(z|x) ∝ p(z) Π_m q_m(z|x_m)` over the modalities that are present: MVAE's posterior.

    The product of Gaussians is a Gaussian whose precision is the sum of the precisions,
    `1/σ² = 1 + Σ 1/σ_m²`, and whose mean is the mean of the experts' weighted by theirs. So an
    expert that knows nothing (a large variance) leaves the others alone, and the more modalities
    are present the narrower q gets. Any subset has a posterior without further networks; train
    those with `objective="subset_elbo"`.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        prior_expert: bool. Whether the prior N(0, I) is one of the experts. Defaults to `True`.
        **settings: those of `kvae.posteriors.Experts`.

    Parameters: those of `Experts`, and `z_mean` and `z_log_var`, both `[batch, latent_dim]`.

    Example:

    ```python
    posterior = kvae.posteriors.ProductOfExperts(latent_dim=2, num_experts=2)
    params = posterior(np.ones((3, 16), "float32"))
    alone = posterior.given(params, np.array([[1, 0]] * 3))      # The first expert and the prior.
    ```

    Reference:
        - [Wu & Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning,
          section 2.2](https://arxiv.org/abs/1802.05335)
    """

    def __init__(self, latent_dim: int | None = None, prior_expert: bool = True, **settings):
        super().__init__(latent_dim, prior_expert, **settings)

    def combined(self, means, log_vars, there):
        mean, log_var = self.product(means, log_vars, there)
        return {"z_mean": mean, "z_log_var": log_var}


@register("mixture_of_experts")
class MixtureOfExperts(Experts, GaussianMixture):
    """`q(z|x) = 1/M Σ_m q_m(z|x_m)` over the M modalities that are present: MMVAE's posterior.

    Each modality alone has to say all that is in z, and what only one of them knows gets lost: in
    return every one can be translated into every other. With `objective="elbo"` the loss is the
    bound of the paper, E_q[log p(x|z) + log p(z) − log q(z|x)], of which the paper draws from each
    expert in its turn and this class from the mixture. The weights are constants, so that draws are
    differentiated within their expert. `objective="iwae"` is at least as tight as the paper's
    importance-weighted bound, whose samples it averages within each expert.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        **settings: those of `kvae.posteriors.Experts`.

    Parameters: those of `Experts`, and `z_logits`, `z_means` and `z_log_vars` of the mixture.

    Example:

    ```python
    posterior = kvae.posteriors.MixtureOfExperts(latent_dim=2, num_experts=2)
    params = posterior(np.ones((3, 16), "float32"))
    posterior.sample(params, num_samples=5, seed=0)      # shape (5, 3, 2)
    ```

    Reference:
        - [Shi et al., Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative
          Models](https://arxiv.org/abs/1911.03393)
    """

    def __init__(self, latent_dim: int | None = None, **settings):
        super().__init__(latent_dim, num_components=1, **settings)  # They are the experts.

    def combined(self, means, log_vars, there):
        return {"z_logits": log_weights(there), "z_means": means, "z_log_vars": log_vars}

    def transform(self, params, noise):
        own = params["z_logits"], params["z_means"], params["z_log_vars"]
        return draw_from_mixture(*own, noise["noise"])[1]


@register("mixture_of_products")
class MixtureOfProducts(_Products, MixtureOfExperts):
    """`q(z|x) = 1/|P| Σ_{S ∈ P} Π_{m ∈ S} q_m(z|x_m)`, P all subsets present: MoPoE's posterior.

    The mixture of the products of all subsets S of the modalities that are present, the empty one
    aside: the products are as sharp as those of `ProductOfExperts`, and each modality is trained
    to do alone, too. The paper bounds the KL of the mixture by the mean of its components' KLs;
    here it is that of the mixture itself, which is less.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        prior_expert: bool. Whether the prior N(0, I) is one of the experts of each product.
            Defaults to `False`.
        **settings: those of `kvae.posteriors.Experts`; at most 8 experts.

    Parameters: those of `Experts`, and `z_logits`, `z_means` and `z_log_vars` of the mixture.

    Example:

    ```python
    posterior = kvae.posteriors.MixtureOfProducts(latent_dim=2, num_experts=2)
    params = posterior(np.ones((3, 16), "float32"))
    params["z_means"].shape      # (3, 3, 2): the first expert, the second, and their product
    ```

    Reference:
        - [Sutter et al., Generalized Multimodal ELBO](https://arxiv.org/abs/2105.02470)
    """

    def combined(self, means, log_vars, there):
        count = means.shape[1]
        if count > _MOST_EXPERTS:
            raise ValueError(
                f"{type(self).__name__} mixes the products of all subsets of at most "
                f"{_MOST_EXPERTS} experts, not of {count}. Use posterior='product_of_experts' or "
                "'mixture_of_experts'."
            )
        subsets = np.array(list(itertools.product([False, True], repeat=count))[1:])
        subsets = subsets[np.argsort(subsets.sum(axis=1), kind="stable")]
        whole = ops.all(ops.logical_or(there[:, None, :], ~subsets[None]), axis=-1)
        members = ops.logical_and(there[:, None, :], subsets[None])
        mean, log_var = self.product(means[:, None], log_vars[:, None], members)
        return {"z_logits": log_weights(whole), "z_means": mean, "z_log_vars": log_var}


@register("joint_experts")
class JointExperts(_Products, DiagonalGaussian):
    """`q(z|x)` is the joint expert's where it reads all, and a product of others elsewhere.

    For models with a network of several modalities beside those of each alone, JMVAE's:
    `encoders={"a": …, "b": …, ("a", "b"): …}`. Where everything that the last encoder reads is
    present, z is its alone. For fewer modalities it is the product of the experts of those that are
    present, of a single one that expert; `objective="jmvae"` trains them.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        prior_expert: bool. Whether the prior N(0, I) is one of the experts of the products.
            Defaults to `False`.
        **settings: those of `kvae.posteriors.Experts`.

    Raises:
        ValueError: in a model whose last encoder does not read all modalities.

    Parameters: those of `Experts`, and `z_mean` and `z_log_var`, both `[batch, latent_dim]`.

    Example:

    ```python
    posterior = kvae.posteriors.JointExperts(2, num_experts=3, reads=[[0], [1], [0, 1]])
    params = posterior(np.ones((3, 16), "float32"))
    joint = posterior.expert(params, 2)      # What z_mean and z_log_var are.
    ```

    References:
        - [Suzuki et al., Joint Multimodal Learning with Deep Generative Models](
          https://arxiv.org/abs/1611.01891): `q(z|x_1, x_2)` and `q(z|x_m)`, a network for each
    """

    joint = True

    def combined(self, means, log_vars, there):
        mean, log_var = self.product(means[:, :-1], log_vars[:, :-1], there[:, :-1])
        whole = there[:, -1:]
        return {
            "z_mean": ops.where(whole, means[:, -1], mean),
            "z_log_var": ops.where(whole, log_vars[:, -1], log_var),
        }


def log_weights(there):
    """Returns the logits of a mixture of the components that are there, equally weighted."""
    return ops.where(there, 0.0, _ABSENT)
