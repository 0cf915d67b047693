"""The checks of every flow."""

import numpy as np
import tensorflow as tf

from kvae.testing import numerics
from kvae.testing.models import BATCH
from kvae.testing.parts import check_part, copied

__all__ = ["check_flow"]


def check_flow(flow, *, latent_dim: int = 3, xla: bool = True) -> None:
    """Checks what every flow promises.

    - What `check_part` checks.
    - z keeps its shape, whatever the leading axes are, and log-determinants have one axis fewer.
    - The log-determinant is that of the Jacobian, by automatic differentiation.
    - `inverse` takes `forward` back, with the opposite log-determinant, where there is an inverse.
    - Both are the same in eager mode, in a graph and compiled by XLA.
    - Extreme parameters and latents give finite numbers.

    Args:
        flow: `kvae.flows.Flow`, new. It is not changed.
        latent_dim: int. Size of z. Defaults to `3`.
        xla: bool. Whether to compile, which takes some seconds. Defaults to `True`.

    Raises:
        AssertionError: for a promise that is broken.

    Example:

    ```python
    kvae.testing.check_flow(kvae.flows.Planar(), xla=False)
    ```
    """
    name = type(flow).__name__
    check_part(flow)
    rng = np.random.default_rng(0)
    own = copied(flow)
    own.latent_dim = latent_dim
    own.build()
    own.set_weights([w + 0.3 * rng.normal(size=w.shape) for w in own.get_weights()])
    params = {
        key: tf.constant(rng.normal(size=(BATCH, *shape)), tf.float32)
        for key, shape in own.parameter_shapes().items()
    }
    z = tf.constant(rng.normal(size=(2, BATCH, latent_dim)), tf.float32)
    moved, log_det = own.forward(params, z)
    assert moved.shape == z.shape, f"{name}: z of shape {z.shape} becomes {moved.shape}."
    assert log_det.shape == z.shape[:-1], f"{name}: log-determinants have shape {log_det.shape}."
    one = own.forward(params, z[0])
    numerics.close(one, (moved[0], log_det[0]), f"{name}: without the axis of samples")
    numerics.close(own(z, params), (moved, log_det), f"{name}: a call")
    numerics.close(
        log_det, _log_determinant(own, params, z), f"{name}: the log-determinant", 1e-3, 1e-3
    )
    numerics.agree_in_graphs(own.forward, (params, z), f"{name}: forward", xla)
    if own.invertible:
        back, change = own.inverse(params, moved)
        numerics.close(back, z, f"{name}: inverse after forward", 1e-3, 1e-3)
        numerics.close(change, -log_det, f"{name}: the inverse's log-determinant", 1e-3, 1e-3)
        numerics.agree_in_graphs(own.inverse, (params, moved), f"{name}: inverse", xla)
    for size in (-1e4, 1e4):
        far = {key: tf.fill(value.shape, np.float32(size)) for key, value in params.items()}
        numerics.finite(own.forward(far, z), f"{name}: forward with parameters of {size:g}")
        numerics.finite(own.forward(params, size * z), f"{name}: forward of latents of {size:g}")


def _log_determinant(own, params, z) -> np.ndarray:
    """log |det| of the Jacobian at each z, by automatic differentiation."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        moved = own.forward(params, z)[0]
        # A z depends on no other, so the gradient of a sum is that of each.
        sums = [tf.reduce_sum(moved[..., i]) for i in range(z.shape[-1])]
    rows = [tape.gradient(value, z) for value in sums]
    return np.linalg.slogdet(np.float64(tf.stack(rows, axis=-2)))[1]
