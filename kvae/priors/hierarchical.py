"""The hierarchical prior, with several stochastic layers."""

import keras

from kvae.distributions.base_noise import Noise
from kvae.distributions.gaussian_chain import GaussianChain, group_sizes
from kvae.priors.prior import Prior, get, register

__all__ = ["Hierarchical"]


@register("hierarchical")
class Hierarchical(Prior):
    """`p(z) = p(z_1) Π_l p(z_l | z_1 … z_{l−1})`, Gaussians with learned networks below the top.

    `z` holds all groups one after the other, the top one first. `temperature` scales the noise of
    all groups.

    Args:
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.
        groups: int, or sequence of the groups' sizes. Defaults to `2`, of about equal size.
        top: str or `Prior`. p(z_1), on R^n. A `Vamp` mixes the top groups of a
            `kvae.posteriors.Hierarchical`. Defaults to `"standard_normal"`.
        hidden: sequence of int. Widths of the network of each lower group. Defaults to `(128,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"relu"`.
        log_var_bound: float. Bound of the log-variances. Defaults to `20.0`.
        star: bool. Whether each lower group depends on the top alone, `p(z_1) Π_l p(z_l | z_1)`, as
            with `kvae.posteriors.Nexus`. Defaults to `False`.

    Raises:
        ValueError: for sizes that do not add up to `latent_dim`, a top that depends on labels or is
            on another space, and for a top `Vamp` with a posterior of other groups.

    Example:

    ```python
    prior = kvae.priors.Hierarchical(
        groups=(4, 4), top=kvae.priors.Vamp(num_components=50)
    )
    ```

    Reference:
        - [Tomczak & Welling, VAE with a VampPrior, eq. 14 to 18](https://arxiv.org/abs/1705.07120)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        groups=2,
        top="standard_normal",
        hidden=(128,),
        activation: str = "relu",
        log_var_bound: float = 20.0,
        star: bool = False,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.star = bool(star)
        self.groups = groups if isinstance(groups, int) else tuple(groups)
        self.top = get(top)
        if self.top is None or self.top.conditional:
            raise ValueError("The top of a hierarchy is a prior that does not depend on labels.")
        self.hidden, self.activation, self.log_var_bound = tuple(hidden), activation, log_var_bound

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the groups, the top one first."""
        return group_sizes(self.latent_dim, self.groups)

    @property
    def uses_posterior(self):
        return self.top.uses_posterior

    def attach(self, vae):
        size = self._set_size_of_top()
        if self.top.uses_posterior:
            if getattr(vae.posterior, "sizes", (None,))[0] != size:
                raise ValueError(
                    f"A {type(self.top).__name__} on top mixes the top groups of a Hierarchical "
                    f"posterior, of {size} latents; this posterior is "
                    f"{type(vae.posterior).__name__}. Give both the same `groups`."
                )
            vae = _TopOfModel(vae)
        self.top.attach(vae)
        if self.top.space != "real":
            raise ValueError(f"The top of a hierarchy lies in R^n; {type(self.top).__name__} not.")

    def build(self, input_shape=None):
        if self.built:
            return
        self.top.build((None, self._set_size_of_top()))
        self.lower = GaussianChain(
            self.sizes,
            self.hidden,
            self.activation,
            log_var_bound=self.log_var_bound,
            star=self.star,
        )
        self.lower.build()
        self.built = True

    def get_build_config(self):
        return None  # Keras does not build a reloaded prior: its model does.

    def precompute(self):
        return self.top.precompute()

    def precomputed(self, tensors=None):
        return _Precomputed(self, self.top.precomputed(tensors))

    def base_noise(self):
        return {**self.top.base_noise(), "below": Noise(self.latent_dim - self.sizes[0])}

    def transform(self, noise, temperature=1.0):
        top = {name: value for name, value in noise.items() if name != "below"}
        first = self.top.transform(top, temperature)
        return self.lower.transform(first, temperature * noise["below"])

    def mean(self):
        first = self.top.mean()[None]
        below = keras.ops.zeros((1, self.latent_dim - self.sizes[0]))
        return self.lower.transform(first, below)[0]

    def log_prob(self, z):
        return self.top.log_prob(z[..., : self.sizes[0]]) + self.lower.log_prob(z)

    def get_config(self):
        return {
            **super().get_config(),
            "groups": self.groups,
            "top": keras.saving.serialize_keras_object(self.top),
            "hidden": self.hidden,
            "activation": self.activation,
            "log_var_bound": self.log_var_bound,
            **({"star": True} if self.star else {}),
        }

    def _set_size_of_top(self) -> int:
        size = self.sizes[0]
        if self.top.latent_dim not in (None, size):
            raise ValueError(
                f"The top prior has latent_dim={self.top.latent_dim}, the top group {size}."
            )
        self.top.latent_dim = size
        return size


class _Precomputed(Hierarchical):
    """The same prior with a precomputed top."""

    def __init__(self, prior, top):
        Prior.__init__(self, prior.latent_dim)
        self.groups = prior.groups
        # They stand behind a function, so that Keras does not track them.
        self._parts = lambda: (top, prior.lower)

    top = property(lambda self: self._parts()[0])
    lower = property(lambda self: self._parts()[1])


class _TopOfModel:
    """The model as the prior of its top latents sees it."""

    def __init__(self, vae):
        self._vae = vae

    def __getattr__(self, name):
        return getattr(self._vae, name)

    @property
    def posterior(self):
        return self._vae.posterior.top

    def encode_params(self, x, label=None):
        params = self._vae.encode_params(x, label)
        return {name: params[name] for name in self.posterior.parameter_shapes()}
