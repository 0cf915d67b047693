"""The planar flow."""

import math

import tensorflow as tf
from keras import ops

from kvae.flows.flow import Flow, register

__all__ = ["Planar"]

_SHIFT = math.log(math.e - 1.0)


@register("planar")
class Planar(Flow):
    """`f(z) = z + û tanh(wᵀz + b)`: pushes and pulls along one direction, at one hyperplane.

    `u`, `w` and `b` are amortised. `û` is `u` with its component along `w` moved so that
    `wᵀû > −1`, without which the map could not be inverted; the inverse has no closed form. In
    place of the paper's `m(x) = −1 + log(1 + eˣ)` the argument is shifted by log(e − 1), so that
    `u = 0` is the identity.

    Args:
        latent_dim: int or `None`. Size of z. When `None`, the posterior or prior that has the flow
            sets it.
        reverse: bool. It has no effect, since a planar flow knows no order. Defaults to `False`.

    Parameters: `u` and `w`, `[batch, latent_dim]`; `b`, `[batch, 1]`.

    Example:

    ```python
    posterior = kvae.posteriors.Flow(flows="planar", num_flows=8)
    ```

    Reference:
        - [Rezende & Mohamed, Variational Inference with Normalizing Flows, eq. 10 to 12 and
          appendix A.1](https://arxiv.org/abs/1505.05770)
    """

    def parameter_shapes(self):
        return {"u": (self.latent_dim,), "w": (self.latent_dim,), "b": (1,)}

    def forward(self, params, z):
        u, w = params["u"], params["w"]
        along = ops.sum(w * u, axis=-1, keepdims=True)
        allowed = tf.math.softplus(along + _SHIFT) - 1.0
        square = ops.sum(ops.square(w), axis=-1, keepdims=True)
        u = u + (allowed - along) * w / (square + 1e-8)
        h = ops.tanh(ops.sum(w * z, axis=-1, keepdims=True) + params["b"])
        slope = (1.0 - ops.square(h[..., 0])) * ops.sum(w * u, axis=-1)
        return z + u * h, ops.log(ops.maximum(1.0 + slope, 1e-7))
