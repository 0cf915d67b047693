"""Base noise, draws and support of distributions of TensorFlow Probability.

Draws of z are functions of base noise, normal or uniform numbers that any platform can draw. A
distribution of TFP has such a function where it is normal, has a quantile function, or is made of
such ones by bijectors, `Independent`, `Sample` and `MixtureSameFamily`.
"""

import math

import tensorflow as tf

from kvae import random
from kvae.distributions.base_noise import Noise, middle
from kvae.distributions.gaussian import component_at

__all__ = [
    "COMPONENT",
    "element_draws",
    "factors",
    "has_base_noise",
    "log_prob",
    "mean_of",
    "noise_of",
    "range_of",
    "shaped",
    "single",
    "space_of",
    "transformed",
]

COMPONENT = "component_uniform"  # The base noise that chooses a component.
# Beyond it a number is as good as infinite, and so is what a bijector makes of it.
_FAR, _INFINITE = 1e30, 1e6
_QUANTILES: dict[type, bool] = {}  # Which classes have a quantile function.


def _is(distribution, name: str) -> bool:
    """Checks for a class of TFP by name, since some classes have a twin with a `_` before it."""
    return any(
        kind.__name__.lstrip("_") == name and kind.__module__.startswith("tensorflow_probability.")
        for kind in type(distribution).__mro__
    )


def shaped(distribution, size: int, batch_rank: int, what: str):
    """Returns a distribution with events `[size]`, `Independent` where it was of single numbers.

    Args:
        distribution: of TFP.
        size: int. The size of the event.
        batch_rank: int. The rank of its batch shape.
        what: str. What errors call it.

    Raises:
        ValueError: for other shapes, and for another dtype than float32.
    """
    from tensorflow_probability import distributions as tfd

    _check_kind(distribution, what)
    event, batch = distribution.event_shape, distribution.batch_shape
    if event.rank == 0 and batch.rank == batch_rank + 1 and batch[-1] == size:
        event, batch = batch[-1:], batch[:-1]
        distribution = tfd.Independent(distribution, reinterpreted_batch_ndims=1)
    if event.rank == 1 and event[0] == size and batch.rank == batch_rank:
        inner = factors(distribution)
        if type(inner).__name__ != "Normal" or _is(distribution, "MultivariateNormalDiag"):
            return distribution
        # Of this class TFP knows the KL to other Gaussians.
        shape = tf.concat([distribution.batch_shape_tensor(), [size]], axis=0)
        loc, scale = (tf.broadcast_to(value, shape) for value in (inner.loc, inner.scale))
        return tfd.MultivariateNormalDiag(loc, scale)
    rows = ["batch"] * batch_rank
    raise ValueError(
        f"{what} has batch shape {tuple(batch)} and event shape {tuple(event)}. With "
        f"latent_dim={size} it is a distribution of {size} numbers for each example: batch shape "
        f"{tuple(rows)} and event shape {(size,)}, or single numbers of batch shape "
        f"{(*rows, size)}."
    )


def _leaf(distribution):
    """Returns the distribution that the noise is for, its size, and whether there are components.

    Raises:
        ValueError: for a distribution whose draws are no known function of such noise.
    """
    if _is(distribution, "Independent") or _is(distribution, "Sample"):
        size = distribution.event_shape[0] if distribution.event_shape.rank else 1
        if distribution.distribution.event_shape.rank == 0:
            leaf, own, mixed = _leaf(distribution.distribution)
            return leaf, size if own == 1 else own, size if mixed else 0
    elif _is(distribution, "MixtureSameFamily"):
        leaf, size, mixed = _leaf(distribution.components_distribution)
        if not mixed:
            return leaf, size, 1
    elif _is(distribution, "TransformedDistribution"):
        return _leaf(distribution.distribution)
    elif _is(distribution, "Normal") or _has_quantile(distribution):
        if distribution.event_shape.rank == 0:
            return distribution, 1, 0
    raise ValueError(
        f"TFP's {type(distribution).__name__.lstrip('_')} cannot make z of base noise, which is "
        "how kvae draws, with the same numbers on every platform: it is not normal, has no "
        "quantile function for single numbers, and is not made of such distributions by bijectors, "
        "Independent, Sample or MixtureSameFamily. Write a small part with a `transform` "
        "(docs/guides/parts.ipynb), or choose another distribution."
    )


def _has_quantile(distribution) -> bool:
    """Checks for a quantile function, whose values move with the parameters."""
    kind = type(distribution)
    if kind not in _QUANTILES:
        try:
            distribution.quantile(0.5)
            _QUANTILES[kind] = distribution.dtype.is_floating
        except NotImplementedError:
            _QUANTILES[kind] = False
    return _QUANTILES[kind]


def has_base_noise(distribution) -> bool:
    """Checks whether `transformed` makes draws of the distribution."""
    try:
        _leaf(distribution)
    except ValueError:
        return False
    return True


def noise_of(distribution) -> dict[str, Noise]:
    """Returns the base noise of a distribution with events of one axis, by name."""
    leaf, size, components = _leaf(distribution)
    kind = "normal" if _is(leaf, "Normal") else "uniform"
    noise = {"noise" if kind == "normal" else "uniform": Noise(size, kind)}
    return {**noise, COMPONENT: Noise(components, "uniform")} if components else noise


def transformed(distribution, noise: dict, temperature=1.0):
    """Turns base noise `[..., batch, size]` into draws `[..., batch, *event]`.

    Args:
        distribution: of TFP.
        noise: dict of tensors, by the names of `noise_of`.
        temperature: float or scalar tensor. Scales normal noise, and uniform noise as the normal
            one that it stands for. Defaults to `1.0`.
    """
    values = next(tf.convert_to_tensor(one) for name, one in noise.items() if name != COMPONENT)
    return _forward(distribution, values, noise.get(COMPONENT), temperature)


def _forward(distribution, noise, component, temperature):
    if _is(distribution, "Independent"):
        return _forward(distribution.distribution, noise, component, temperature)
    if _is(distribution, "Sample"):
        inner = distribution.distribution
        if inner.batch_shape.rank == 0:
            return _forward(inner, noise, component, temperature)
        # The axis of the draws comes first, where the batch of the inner distribution does not.
        last, first = _moved(noise, to_front=True), None
        if component is not None:
            first = _moved(component, to_front=True)
        return _moved(_forward(inner, last, first, temperature), to_front=False)
    if _is(distribution, "MixtureSameFamily"):
        axis = -1 - distribution.event_shape.rank
        each = _forward(
            distribution.components_distribution, tf.expand_dims(noise, axis), None, temperature
        )
        place = component if distribution.event_shape.rank else component[..., None]
        logits = distribution.mixture_distribution.logits_parameter()
        chosen, _ = component_at(tf.stop_gradient(logits), place)
        chosen = chosen[..., None] if distribution.event_shape.rank else chosen
        return tf.reduce_sum(tf.where(chosen > 0, each, 0.0), axis=axis)
    if _is(distribution, "TransformedDistribution"):
        base = _forward(distribution.distribution, noise, component, temperature)
        return distribution.bijector.forward(base)
    if _is(distribution, "Normal"):
        return distribution.loc + distribution.scale * (temperature * noise)
    uniform = random.to_open(noise)
    if not (isinstance(temperature, float) and temperature == 1.0):
        # Uniform noise scales as the Gaussian noise that it stands for, so that no draw leaves the
        # support. A temperature may be a tensor, and one of 1 must leave the bits as they are.
        scaled = tf.math.ndtri(uniform) * temperature
        cooled = tf.clip_by_value(0.5 * tf.math.erfc(-scaled * math.sqrt(0.5)), 1e-7, 1.0 - 1e-7)
        uniform = tf.where(tf.equal(temperature, 1.0), uniform, cooled)
    return distribution.quantile(uniform)


def _moved(values, to_front: bool):
    rank = len(values.shape)
    order = [rank - 1, *range(rank - 1)] if to_front else [*range(1, rank), 0]
    return tf.transpose(values, order)


def element_draws(distribution, seed):
    """Draws one value from each of a batch of distributions of single numbers, as float32."""
    if not has_base_noise(distribution):
        return tf.cast(distribution.sample(seed=random.as_seed(seed)), tf.float32)
    leaf, _, components = _leaf(distribution)
    shape = distribution.batch_shape_tensor()
    seeds = random.split(seed) if components else [seed, None]
    draw = random.normal if _is(leaf, "Normal") else random.uniform
    component = random.uniform(shape, seeds[1]) if components else None
    return _forward(distribution, draw(shape, seeds[0]), component, 1.0)


def log_prob(distribution, z):
    """Returns the log-density of z in nats, with its gradient in z."""
    # TFP's bijectors remember what they made z of, whose gradient is not that of their inverse.
    return distribution.log_prob(tf.identity(z))


def mean_of(distribution):
    """Returns the mean where it is known and finite, and otherwise the image of the medians."""
    shape = distribution.batch_shape_tensor()
    rows = [shape[axis] for axis in range(distribution.batch_shape.rank)]
    try:
        mean = distribution.mean()
    except NotImplementedError:
        mean = None
    if mean is not None and _is(_leaf(distribution)[0], "Normal"):
        return mean
    centre = transformed(distribution, middle(noise_of(distribution), rows))
    return centre if mean is None else tf.where(tf.math.is_finite(mean), mean, centre)


def range_of(distribution) -> tuple[float, float]:
    """Returns the smallest and the largest value that a number of an event may have.

    They are read from the bijector that TFP knows for it; where there is none, any number may be.
    """
    try:
        bijector = distribution.experimental_default_event_space_bijector()
        if bijector is None:
            return -math.inf, math.inf
        shape = [1] * distribution.event_shape.rank
        low, high = (tf.reduce_mean(bijector.forward(tf.fill(shape, end))) for end in (-_FAR, _FAR))
    except (NotImplementedError, ValueError, TypeError, tf.errors.InvalidArgumentError):
        return -math.inf, math.inf
    low, high = float(low), float(high)  # NaN, from a flow, says nothing.
    return low if low > -_INFINITE else -math.inf, high if high < _INFINITE else math.inf


def space_of(distribution) -> str:
    """Returns where z lies, as posteriors and priors say it in `space`."""
    low, high = range_of(distribution)
    if math.isinf(low) and math.isinf(high):
        return "real"
    words = f"at {low:g} and above" if math.isinf(high) else f"between {low:g} and {high:g}"
    return f"at {high:g} and below" if math.isinf(low) else words


def single(distribution, what: str):
    """Returns a distribution of single numbers, or refuses one of vectors.

    Raises:
        ValueError: for a distribution of vectors, and for another dtype than float32 or a whole
            number's.
    """
    _check_kind(distribution, what)
    if distribution.event_shape.rank != 0:
        raise ValueError(
            f"{what} is a distribution of events of shape {tuple(distribution.event_shape)}, and "
            "not of single numbers. Values of x are independent given z here; where they are not, "
            "write a likelihood with a `log_prob` of its own (docs/guides/parts.ipynb)."
        )
    return distribution


def _check_kind(distribution, what: str) -> None:
    if not _is(distribution, "Distribution"):
        raise ValueError(f"{what} is {distribution!r}, not a distribution of TFP.")
    dtype = distribution.dtype
    if not isinstance(dtype, tf.DType) or not (dtype.is_integer or dtype == tf.float32):
        dtype = getattr(dtype, "name", dtype)
        raise ValueError(
            f"{what} is a distribution of {dtype}, and kvae computes in float32: make it of "
            "float32 numbers (NumPy's are float64 unless told otherwise)."
        )


def factors(distribution):
    """Returns the distributions of the single numbers of z, `[..., size]`; `None` if dependent."""
    from tensorflow_probability import distributions as tfd

    if _is(distribution, "Independent") or _is(distribution, "Sample"):
        inner = distribution.distribution
        single = inner.event_shape.rank == 0 and distribution.event_shape.rank == 1
        shared = _is(distribution, "Independent") or inner.batch_shape.rank == 0
        return inner if single and shared else None
    if type(distribution).__name__ == "MultivariateNormalDiag":
        return tfd.Normal(distribution.mean(), distribution.stddev())
    return None
