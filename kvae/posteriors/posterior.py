"""The interface of every approximate posterior q(z|x)."""

import math

import tensorflow as tf
from keras import layers, ops

from kvae.distributions import base_noise
from kvae.distributions.base_noise import Noise
from kvae.parts import OnGrid, Part, PartRegister, resolve, to_write, without_distribution

__all__ = ["REGISTER", "Posterior", "check_space", "get", "names", "register"]


class Posterior(OnGrid, Part):
    """An approximate posterior `q(z|x)`: features of `x` to parameters, parameters to `z`.

    Called on the encoder's output, a posterior returns its parameters as a dict of tensors. An
    encoder may return features (a tensor; the posterior adds one dense head for each parameter) or
    the parameters themselves (a dict by name, or a sequence in the order of `parameter_shapes`).

    A new posterior gives `parameter_shapes`, `transform`, `mean` and `log_prob`, and where its base
    noise is not a standard Gaussian, `base_noise`. One whose density is a by-product of its
    transform (a flow) overrides `sample_and_log_prob`; one whose `z` lies elsewhere than in
    R^latent_dim names its `space`. Closed-form KL divergences are registered in
    `kvae.divergences`.

    Of a model with `latent_shape`, which it sets as an attribute, `z` lies on a grid. Parameters of
    the size of z then come from features on that grid place by place, by heads that are shared, and
    may be returned by the encoder on the grid. All else is computed with vectors.

    Args:
        latent_dim: int or `None`. Size of `z`; `kvae.VAE` sets it when it is `None`.

    Shapes: `[batch, ...]` for parameters, `[batch, latent_dim]` or
    `[num_samples, batch, latent_dim]` for `z`, one axis fewer for densities. Densities are in nats.
    """

    deterministic = False  # Whether z is a function of x, so that no noise is drawn.
    discrete = False  # Whether z is one of finitely many, and `log_prob` the logarithm of a mass.
    # True when `log_prob` takes any z in closed form. Otherwise the density is known only for draws
    # of `sample_and_log_prob`.
    tractable = True
    # True when all that `log_prob` depends on comes from the encoder. A flow has own weights.
    fully_amortized = True
    # Whether it combines experts of several modalities, so that `given` is that of fewer of them.
    of_modalities = False
    ignores_x = False  # Whether q(z|x) is the same for all x.
    standard_normal_at_zero = False  # Whether it is N(0, I) where all parameters are 0.
    space = "real"  # Where z lies: `check_space` compares it with the prior's.
    # Whether that is a part of R^latent_dim with a volume, so that priors on all of it go with it.
    within_reals = False
    # These are methods if there is a closed form, otherwise None. The first takes (params, z) and
    # returns log q(z_i|x) of each coordinate alone in nats, [..., batch, latent_dim]:
    marginal_log_prob = None
    # The second takes params and returns the covariance of q(z|x), [batch, latent_dim, latent_dim]:
    covariance = None

    def __init__(self, latent_dim: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim

    # A subclass defines these.

    @to_write
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each parameter for one example, by name."""
        raise NotImplementedError

    def base_noise(self) -> dict[str, Noise]:
        """Returns the noise that `transform` takes, by name. Defaults to N(0, I), as `noise`."""
        return {} if self.deterministic else {"noise": Noise(self.latent_dim)}

    @to_write
    def transform(self, params, noise):
        """Turns base noise into `z`, `[..., batch, latent_dim]` (the reparameterisation).

        This is `z = g(ε, x)`, eq. 4 of Auto-Encoding Variational Bayes.

        Args:
            params: dict. The parameters, `[batch, ...]`.
            noise: dict of tensors `[..., batch, size]`, as `base_noise` declares them.
        """
        raise NotImplementedError

    @to_write
    def mean(self, params):
        """Returns E[z], `[batch, latent_dim]`."""
        raise NotImplementedError

    @to_write
    def log_prob(self, params, z):
        """Returns log q(z|x) in nats, `[..., batch]`."""
        raise NotImplementedError

    def distribution(self, params):
        """Returns q(z|x) as a distribution of TFP, of batch `[batch]` and events `[latent_dim]`.

        Raises:
            NotImplementedError: for a posterior of which TFP has no distribution.
        """
        raise without_distribution(self)

    def constrain(self, params):
        """Brings raw parameters into their range. By default it returns them unchanged."""
        return params

    def attach(self, vae):
        """Tells the posterior its model, whose prior has to put z into the same space.

        Raises:
            ValueError: where no KL divergence can exist between the posterior and the prior.
        """
        check_space(self, vae.prior)

    def with_prior(self, prior):
        """Returns the posterior for another prior, e.g. one conditioned on labels.

        By default it returns itself.
        """
        return self

    def params_of(self, prior) -> dict:
        """Returns the parameters with which q(z|x) is the prior, as far as there are such.

        They are those of an example of which nothing was observed (`kvae.VAE(missing=…)`).

        Args:
            prior: `kvae.priors.Prior` or `None`.

        Returns:
            dict from names to numbers; empty where the posterior cannot be the prior.
        """
        if prior is None or not (self.standard_normal_at_zero and prior.standard_normal):
            return {}
        return dict.fromkeys(self.parameter_shapes(), 0.0)

    def penalty(self, params):
        """Returns a regularizer that is no divergence, in nats, `[batch]`, or `None`."""
        return None

    # These follow from them.

    def missing_methods(self) -> list[str]:
        missing, kind = super().missing_methods(), type(self)
        draws_with_density = kind.sample_and_log_prob is not Posterior.sample_and_log_prob
        if draws_with_density or not self.has_density:
            missing = [name for name in missing if name != "log_prob"]
        return missing

    @property
    def has_density(self) -> bool:
        """True when `log_prob` is defined. A point mass in R^latent_dim has no density."""
        return self.discrete or not self.deterministic

    def build(self, features_shape):
        if self.latent_dim is None:
            raise ValueError(f"{type(self).__name__} needs its `latent_dim` before it is built.")
        self.heads = {}
        if isinstance(features_shape, dict):
            self._check_parameters(features_shape)
        elif features_shape and isinstance(features_shape[0], (list, tuple)):
            self._check_parameters(self._by_name(features_shape))
        else:
            width = math.prod(features_shape[1:])
            on_grid = self._are_on_grid(features_shape)
            for name, shape in self.parameter_shapes().items():
                local = on_grid and shape == (self.latent_dim,)
                units = self.latent_shape[-1] if local else math.prod(shape)
                self.heads[name] = layers.Dense(units, name=name, dtype=self.dtype)
                self.heads[name].build(features_shape if local else (None, width))
        self.built = True

    def call(self, features, training=False):
        if isinstance(features, (list, tuple)):
            features = self._by_name(features)
        shapes = self.parameter_shapes()
        if not isinstance(features, dict):
            flat = ops.reshape(features, (-1, math.prod(features.shape[1:])))
            on_grid = self._are_on_grid(features.shape)
            features = {
                name: ops.reshape(
                    head(features if on_grid and shape == (self.latent_dim,) else flat),
                    (-1, *shape),
                )
                for (name, shape), head in zip(shapes.items(), self.heads.values(), strict=True)
            }
        elif len(self.latent_shape or ()) > 1:
            features = {
                name: ops.reshape(features[name], (-1, *shape)) for name, shape in shapes.items()
            }
        return self.constrain({name: features[name] for name in shapes})

    def sample(self, params, num_samples: int | None = None, *, seed, training: bool = False):
        """Draws `z`, `[batch, latent_dim]` or `[num_samples, batch, latent_dim]`.

        `training` is for posteriors that draw a relaxation of `z` in training.
        """
        z = self.transform(params, self.draw_noise(params, num_samples, seed))
        if self.deterministic and num_samples is not None:
            # Equal copies. An added zero would let TensorFlow reorder sums in graphs, and round.
            z = tf.broadcast_to(z, tf.concat([[num_samples], tf.shape(z)], axis=0))
        return z

    def draw_noise(self, params, num_samples: int | None, seed) -> dict[str, tf.Tensor]:
        """Draws the base noise of `sample`."""
        lead = [] if num_samples is None else [num_samples]
        batch = tf.shape(next(iter(params.values())))[0]
        return base_noise.draw(self.base_noise(), [*lead, batch], seed)

    def sample_and_log_prob(
        self, params, num_samples: int | None = None, *, seed, training: bool = False
    ):
        """Draws `z` and returns it with log q(z|x), computed together where that is cheaper."""
        z = self.sample(params, num_samples, seed=seed, training=training)
        return z, self.log_prob(params, z)

    def cross_log_prob(self, params, z):
        """Returns the log-density of each `z` under each of K posteriors, in nats.

        Args:
            params: dict. Parameters `[K, ...]`.
            z: tensor `[..., latent_dim]`.

        Returns:
            Tensor `[..., K]`.
        """
        return self.log_prob(params, z[..., None, :])

    def get_config(self):
        return {**super().get_config(), "latent_dim": self.latent_dim}

    def _by_name(self, values):
        names = list(self.parameter_shapes())
        if len(values) != len(names):
            advice = ""
            if len(values) == len(names) + 1:
                advice = (
                    " The model draws z itself: leave it out, keras.Model(encoder.inputs, "
                    f"encoder.outputs[:{len(names)}])."
                )
            raise ValueError(
                f"The encoder returns {len(values)} tensors; {type(self).__name__} takes one "
                f"tensor of features, or its {len(names)} parameters {names}.{advice}"
            )
        return dict(zip(names, values, strict=True))

    def _are_on_grid(self, shape) -> bool:
        """Checks whether features of a shape are on the grid of z.

        Raises:
            ValueError: where they are on another grid.
        """
        grid, given = self.latent_shape or (), tuple(shape[1:])
        if len(grid) < 2 or len(given) != len(grid):
            return False
        if given[:-1] != grid[:-1]:
            raise ValueError(
                f"The encoder returns features of shape {(None, *given)}, and z has "
                f"latent_shape={grid}: the sizes before the last one are the same, or the encoder "
                "ends in layers.Flatten()."
            )
        return True

    def _check_parameters(self, shapes):
        for name, shape in self.parameter_shapes().items():
            if name not in shapes:
                raise ValueError(
                    f"The encoder returns {sorted(shapes)}; {type(self).__name__} needs {name!r}."
                )
            grid = self.latent_shape if shape == (self.latent_dim,) else shape
            if tuple(shapes[name][1:]) not in (shape, grid):
                raise ValueError(
                    f"The encoder returns {name!r} with shape {tuple(shapes[name])}; with "
                    f"latent_dim={self.latent_dim} it is {(None, *shape)}."
                )


REGISTER = PartRegister("posterior", Posterior)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Posterior:
    """Returns a posterior from its name, its config or itself."""
    return resolve(REGISTER, identifier, Posterior)


def check_space(posterior, prior) -> None:
    """Refuses a pair of posterior and prior (or `None`) that put `z` into different spaces.

    Raises:
        ValueError: where one of the densities is 0 wherever the other is not, or of another
            dimension, so that the KL is infinite.
    """
    if prior is None or prior.space is None or not posterior.has_density:
        return
    within = prior.space == "real" and posterior.within_reals
    if _apart(posterior.space, prior.space) and not within:
        raise ValueError(
            f"{type(posterior).__name__} puts z {_where(posterior.space)}, "
            f"{type(prior).__name__} {_where(prior.space)}: their KL divergence "
            "is infinite. Choose a posterior and a prior on the same space"
            f"{_PRIORS.get(posterior.space, '')}."
        )


def _apart(space, other) -> bool:
    """Checks whether a space is another one than that of a prior, of which `None` is any."""
    if isinstance(other, tuple):
        spaces = space if isinstance(space, tuple) else (space,) * len(other)
        return len(spaces) != len(other) or any(map(_apart, spaces, other))
    return other is not None and space != other


def _where(space) -> str:
    """Says where z lies; the space of a product is a tuple."""
    if isinstance(space, tuple):
        return " and ".join(f"part {index} {_where(each)}" for index, each in enumerate(space))
    return "anywhere" if space is None else _SPACES.get(space, space)


_SPACES = {
    "real": "anywhere in R^latent_dim",
    "sphere": "on the unit sphere",
    "ball": "in the Poincaré ball",
    "categorical": "among one-hot vectors",
    "codes": "among the entries of a codebook",
}
_PRIORS = {
    "real": ", e.g. prior='standard_normal'",
    "sphere": ", e.g. prior='uniform_sphere'",
    "ball": ", e.g. prior='wrapped_normal'",
    "categorical": ", e.g. prior='uniform_categorical'",
    "codes": ", e.g. prior='uniform_codes'",
}
