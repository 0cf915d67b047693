"""The Poincaré ball: points z of R^d with `c ‖z‖² < 1`, a space of curvature −c.

Lengths at z are `λ(z) = 2 / (1 − c ‖z‖²)` times Euclidean ones, so that the boundary is infinitely
far. Densities are with respect to dz, as those of other latents; the volume of the ball is
`λ(z)^d dz`. Notation and formulas are those of Mathieu et al., Continuous Hierarchical
Representations with Poincaré Variational Auto-Encoders, https://arxiv.org/abs/1901.06033.
"""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from kvae.distributions.base_noise import Noise
from kvae.distributions.gaussian import gaussian_log_density

__all__ = [
    "FARTHEST",
    "check_curvature",
    "geodesic",
    "largest_scale",
    "length",
    "log_stretch",
    "log_volume",
    "point_at",
    "radial_log_density",
    "radial_noise",
    "radial_step",
    "radii",
    "step_from",
    "step_to",
    "wrapped_log_density",
]

# The distance of a point from the centre, at most, in units of 1 / √c. Farther out float32 does
# not tell points from the boundary.
FARTHEST = 12.0
_POINTS = 256  # Of the quadrature over the radius.
_REACH = 6.0  # How many deviations it goes to each side of the peak.


def check_curvature(curvature: float) -> float:
    """Returns c, which is positive.

    Raises:
        ValueError: for another number.
    """
    if not 0 < curvature < math.inf:
        raise ValueError(
            f"`curvature` is the c of a ball of curvature −c, a positive number, not {curvature}."
        )
    return float(curvature)


def length(v):
    """Returns the Euclidean length `[..., 1]`, with a gradient of 0 at 0."""
    return ops.sqrt(ops.sum(ops.square(v), axis=-1, keepdims=True) + 1e-24)


def point_at(v, curvature: float, farthest: float = FARTHEST):
    """Returns the point in the direction of v at the distance ‖v‖ from the centre: `exp_0(v / 2)`.

    Args:
        v: tensor `[..., d]`.
        curvature: float. c.
        farthest: float. The largest distance, in units of 1 / √c.
    """
    root, far = math.sqrt(curvature), length(v)
    return ops.tanh(ops.minimum(0.5 * root * far, 0.5 * farthest)) * v / (root * far)


def _add(x, y, curvature: float):
    """Möbius addition, `x ⊕ y`: the point y as seen from the centre, moved to x."""
    xy = 2 * curvature * ops.sum(x * y, axis=-1, keepdims=True)
    xx = curvature * ops.sum(ops.square(x), axis=-1, keepdims=True)
    yy = curvature * ops.sum(ops.square(y), axis=-1, keepdims=True)
    return ((1 + xy + yy) * x + (1 - xx) * y) / ops.maximum(1 + xy + xx * yy, 1e-12)


def step_from(mean, v, curvature: float):
    """Returns the point at the distance ‖v‖ from `mean`, `exp_mean(v / λ(mean))`; see `step_to`."""
    z = _add(mean, point_at(v, curvature), curvature)
    largest = math.tanh(0.5 * FARTHEST) / math.sqrt(curvature)
    return z * ops.minimum(1.0, largest / length(z))


def step_to(mean, z, curvature: float):
    """Returns the v of `step_from` that leads from `mean` to z: `λ(mean) log_mean(z)`."""
    seen = _add(-mean, z, curvature)
    root, far = math.sqrt(curvature), length(seen)
    return 2 / root * ops.arctanh(ops.minimum(root * far, 1 - 1e-7)) * seen / far


def geodesic(start, end, position, curvature: float):
    """Returns the points that share the shortest way from `start` to `end` in `position`."""
    return step_from(start, position * step_to(start, end, curvature), curvature)


def log_volume(z, curvature: float):
    """Returns `log λ(z)^d`, `[...]`: what turns a density of the ball's volume into one of dz."""
    inside = 1 - curvature * ops.sum(ops.square(z), axis=-1)
    return z.shape[-1] * (math.log(2.0) - ops.log(ops.maximum(inside, 1e-6)))


def log_stretch(far, curvature: float):
    """Returns `log(√c r / sinh(√c r))` at the distance r, which is 0 without curvature."""
    x = math.sqrt(curvature) * far
    small = x < 0.05  # There the logarithms cancel.
    safe = ops.where(small, 1.0, x)
    exact = ops.log(2 * safe) - safe - ops.log(-ops.expm1(-2 * safe))
    return ops.where(small, -ops.square(x) / 6 + ops.square(ops.square(x)) / 180, exact)


def wrapped_log_density(step, log_var, curvature: float):
    """Returns the log-density of a wrapped normal with respect to the ball's volume, `[...]`.

    Args:
        step: tensor `[..., d]`. The way from the mean, see `step_to`.
        log_var: tensor or float that broadcasts with it.
        curvature: float. c.
    """
    log_normal = ops.sum(gaussian_log_density(0.0, log_var, step), axis=-1)
    return log_normal + (step.shape[-1] - 1) * log_stretch(length(step)[..., 0], curvature)


def radial_noise(dim: int) -> dict[str, Noise]:
    """Returns the base noise of a Riemannian normal: its direction, and a number for its radius."""
    return {"noise": Noise(dim), "radius_uniform": Noise(1, "uniform")}


def radial_step(noise, scale, curvature: float):
    """Returns the way of a Riemannian normal from its mean, `[..., d]`, from `radial_noise`."""
    _, quantile = radii(scale, noise["noise"].shape[-1], curvature)
    return quantile(noise["radius_uniform"]) * noise["noise"] / length(noise["noise"])


def radial_log_density(step, scale, curvature: float):
    """Returns the log-density of a Riemannian normal with respect to the ball's volume, `[...]`.

    Args:
        step: tensor `[..., d]`. The way from the mean, see `step_to`.
        scale: float32 tensor `[...]`. σ.
        curvature: float. c.
    """
    log_total, _ = radii(scale, step.shape[-1], curvature)
    return -0.5 * ops.sum(ops.square(step), axis=-1) / ops.square(scale) - log_total


def _widest(scale, dim: int, curvature: float, xp):
    """Returns a bound of the radius at which exp(−r² / 2σ²) (sinh √c r)^(d−1) is largest."""
    pull = xp.square(scale) * (dim - 1)
    return 0.5 * math.sqrt(curvature) * pull + xp.sqrt(0.25 * curvature * xp.square(pull) + pull)


def largest_scale(scale: float | None, dim: int, curvature: float) -> float:
    """Returns σ of a Riemannian normal, by default that of the widest that float32 can hold.

    Raises:
        ValueError: for a larger one, of whose draws float32 does not tell most from the boundary.
    """
    low, high = 0.0, FARTHEST / math.sqrt(curvature)
    for _ in range(60):
        middle = 0.5 * (low + high)
        reach = _widest(middle, dim, curvature, np) + _REACH * middle
        low, high = (middle, high) if reach * math.sqrt(curvature) < FARTHEST else (low, middle)
    if scale is not None and scale > low:
        raise ValueError(
            f"A Riemannian normal in {dim} dimensions of curvature −{curvature:g} has a scale of "
            f"at most {low:.3g}, not {scale:g}: farther out float32 does not tell z from the "
            "boundary. Make the scale or the curvature smaller."
        )
    return low if scale is None else float(scale)


def radii(scale, dim: int, curvature: float):
    """Returns what a Riemannian normal needs of its radius, whose density is `ρ(r) / ∫ ρ`.

    There is `ρ(r) = exp(−r² / 2σ²) (sinh(√c r) / √c)^(d−1)`. The density is log-concave, and falls
    faster than a Gaussian of deviation σ on both sides of its peak.

    Args:
        scale: float32 tensor `[...]`. σ.
        dim: int. d.
        curvature: float. c.

    Returns:
        Pair. The first is `log ∫ exp(−r² / 2σ²) dvolume`, of the shape of `scale`. The second is a
        function from numbers `[..., 1]` in (0, 1) to radii `[..., 1]`, the quantile function. It
        uses no search, so that every format of exports has its operations. Both have gradients.
    """
    root = math.sqrt(curvature)
    sigma = scale[..., None]
    peak = _widest(sigma, dim, curvature, ops)
    for _ in range(6):  # A mean of bounds on both sides, which is exact without curvature.
        x = ops.maximum(root * peak, 1e-6)
        peak = ops.sqrt(peak * ops.square(sigma) * (dim - 1) * root / ops.tanh(x))
    peak = tf.stop_gradient(peak)
    low = ops.maximum(peak - _REACH * sigma, 0.0)
    step = (peak + _REACH * sigma - low) / (_POINTS - 1)
    grid = low + step * np.arange(_POINTS, dtype="float32")

    def log_density(r):
        log_sinh = ops.log(ops.maximum(r, 1e-12)) - log_stretch(r, curvature)
        return (dim - 1) * log_sinh - 0.5 * ops.square(r / sigma)

    log_peak = log_density(peak) if dim > 1 else ops.zeros_like(peak)
    density = ops.exp(log_density(grid) - log_peak)
    cells = 0.5 * (density[..., 1:] + density[..., :-1])
    total = ops.sum(cells, axis=-1, keepdims=True)
    below = ops.cumsum(cells, axis=-1) / total
    shares = ops.maximum(cells / total, 1e-12)
    below = below - shares

    def quantile(uniform):
        passed = ops.clip((uniform - below) / shares, 0.0, 1.0)
        return low + step * ops.sum(passed, axis=-1, keepdims=True)

    log_area = math.log(2.0) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)
    log_total = ops.log(total * step) + log_peak
    return log_area + log_total[..., 0], quantile
