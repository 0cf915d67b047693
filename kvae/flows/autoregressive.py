"""Autoregressive flows, whose Jacobian is triangular: IAF, MAF and RealNVP."""

import numpy as np
import tensorflow as tf
from keras import ops

from kvae.flows.flow import Flow, register
from kvae.flows.masked_network import MaskedNetwork
from kvae.parts import to_write

__all__ = ["Autoregressive", "InverseAutoregressive", "MaskedAutoregressive", "RealNVP"]


class Autoregressive(Flow):
    """`y_i = exp(s_i) z_i + t_i`, with s and t functions of the coordinates before i.

    This direction computes all coordinates at once. The other one computes them one after another,
    with a pass through the network for each.

    Args:
        latent_dim: int or `None`. Size of z. When `None`, the posterior or prior that has the flow
            sets it.
        hidden: sequence of int or `None`. Widths of the network; two layers of
            max(32, 4 latent_dim) by default.
        context_dim: int. Size of the amortised `context`; `0` for none.
    """

    invertible = True

    def __init__(self, latent_dim=None, hidden=None, context_dim: int = 0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        if context_dim < 0 or (hidden is not None and any(width < 1 for width in hidden)):
            raise ValueError("`context_dim` is at least 0 and the widths of `hidden` at least 1.")
        self.hidden = None if hidden is None else tuple(hidden)
        self.context_dim = context_dim

    def degrees(self) -> np.ndarray:
        """Returns the place of each coordinate in the order, from 1."""
        order = np.arange(1, self.latent_dim + 1)
        return order[::-1] if self.reverse else order

    @to_write
    def shift_and_log_scale(self, raw):
        """Turns the network's outputs `[..., latent_dim, 2]` into t and s."""
        raise NotImplementedError

    final_bias = (0.0, 0.0)

    def parameter_shapes(self):
        return {"context": (self.context_dim,)} if self.context_dim else {}

    def build(self, input_shape=None):
        if self.built:
            return
        hidden = self.hidden or (max(32, 4 * self.latent_dim),) * 2
        self.network = MaskedNetwork(
            self.degrees(), 2, hidden, self.context_dim, self.final_bias, name="network"
        )
        self.network.build()
        self.built = True

    def parallel(self, params, z):
        """Computes the affine map of all coordinates at once."""
        shift, log_scale = self._read(params, z)
        return ops.exp(log_scale) * z + shift, ops.sum(log_scale, axis=-1)

    def sequential(self, params, y):
        """Computes the inverse. Each pass finds the coordinates of one more degree."""
        y = tf.convert_to_tensor(y, tf.float32)
        passes = len(np.unique(self.degrees()))

        def step(index, z):
            shift, log_scale = self._read(params, z)
            return index + 1, ops.exp(-log_scale) * (y - shift)

        # The loop starts from y: coordinates of the first degree do not need the others.
        _, z = tf.while_loop(
            lambda index, z: index < passes, step, (0, y), maximum_iterations=passes
        )
        _, log_scale = self._read(params, z)
        return z, -ops.sum(log_scale, axis=-1)

    def forward(self, params, z):
        return self.parallel(params, z)

    def inverse(self, params, z):
        return self.sequential(params, z)

    def _read(self, params, z):
        return self.shift_and_log_scale(self.network(z, params.get("context")))

    def get_config(self):
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "context_dim": self.context_dim,
        }


@register("iaf")
class InverseAutoregressive(Autoregressive):
    """IAF: `f(z) = σ ⊙ z + (1 − σ) ⊙ m`, with gates σ in (0, 1) from a masked network.

    The network sees the coordinates before each and an amortised context. Drawing z with its
    density takes one pass, which is what training needs; the density of a given z takes
    `latent_dim` passes. The gates start at 0.88, near the identity.

    Args:
        latent_dim: int or `None`. Size of z. When `None`, the posterior or prior that has the flow
            sets it.
        hidden: sequence of int or `None`. Widths of the network; two layers of
            max(32, 4 latent_dim) by default.
        context_dim: int. Size of the amortised `context`. Defaults to `16`.

    Parameter: `context`, `[batch, context_dim]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=20, posterior="iaf")
    ```

    Reference:
        - [Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow,
          algorithm 1](https://arxiv.org/abs/1606.04934)
    """

    final_bias = (0.0, 2.0)

    def __init__(self, latent_dim=None, hidden=None, context_dim: int = 16, **kwargs):
        super().__init__(latent_dim, hidden, context_dim, **kwargs)

    def shift_and_log_scale(self, raw):
        mean, gate = raw[..., 0], raw[..., 1]
        # A closed gate would lose z and make the inverse impossible, so exp(−10) stays open.
        log_gate = ops.maximum(-tf.math.softplus(-gate), -10.0)
        return -ops.expm1(log_gate) * mean, log_gate


class _BoundedAffine(Autoregressive):
    """An affine map with log-scales within ±`log_scale_bound`, which starts as the identity."""

    def __init__(
        self,
        latent_dim=None,
        hidden=None,
        context_dim: int = 0,
        log_scale_bound: float = 3.0,
        **kwargs,
    ):
        super().__init__(latent_dim, hidden, context_dim, **kwargs)
        if not log_scale_bound > 0:
            raise ValueError(f"`log_scale_bound` is more than 0, not {log_scale_bound}.")
        self.log_scale_bound = log_scale_bound

    def shift_and_log_scale(self, raw):
        bound = self.log_scale_bound
        return raw[..., 0], bound * ops.tanh(raw[..., 1] / bound)

    def get_config(self):
        return {**super().get_config(), "log_scale_bound": self.log_scale_bound}


@register("maf")
class MaskedAutoregressive(_BoundedAffine):
    """MAF: the density of a given z takes one pass, a draw `latent_dim` of them.

    It is `z_i = exp(s_i) ε_i + t_i` with s and t functions of `z_1 … z_{i−1}`, and makes the
    opposite trade of IAF, the right one for a prior, whose density training evaluates. As the flow
    of a posterior it is slow.

    Args:
        latent_dim: int or `None`. Size of z. When `None`, the posterior or prior that has the flow
            sets it.
        hidden: sequence of int or `None`. Widths of the network; two layers of
            max(32, 4 latent_dim) by default.
        context_dim: int. Size of the amortised `context`. Defaults to `0`, none.
        log_scale_bound: float. Bound of the log-scales. Defaults to `3.0`.

    Example:

    ```python
    prior = kvae.priors.Flow(flows="maf", num_flows=4)
    ```

    Reference:
        - [Papamakarios et al., Masked Autoregressive Flow for Density Estimation, section 3](
          https://arxiv.org/abs/1705.07057)
    """

    def forward(self, params, z):
        return self.sequential(params, z)

    def inverse(self, params, z):
        return self.parallel(params, z)


@register("real_nvp")
class RealNVP(_BoundedAffine):
    """Affine coupling: one half of z stays, and shifts and scales the other half.

    It is `y_B = exp(s(z_A)) ⊙ z_B + t(z_A)`, the autoregressive map with only two degrees, so both
    directions are fast: they take two passes and not `latent_dim`. Flows in a chain alternate
    between the halves.

    Args:
        latent_dim: int or `None`. Size of z, at least 2. When `None`, the posterior or prior that
            has the flow sets it.
        hidden: sequence of int or `None`. Widths of the network; two layers of
            max(32, 4 latent_dim) by default.
        context_dim: int. Size of the amortised `context`. Defaults to `16`; `0` for none.
        log_scale_bound: float. Bound of the log-scales. Defaults to `3.0`.

    Parameter: `context`, `[batch, context_dim]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=20, posterior="real_nvp")
    ```

    Reference:
        - [Dinh et al., Density estimation using Real NVP, section 3](
          https://arxiv.org/abs/1605.08803)
    """

    def __init__(self, latent_dim=None, hidden=None, context_dim: int = 16, **kwargs):
        super().__init__(latent_dim, hidden, context_dim, **kwargs)

    def degrees(self):
        if self.latent_dim < 2:
            raise ValueError("RealNVP couples two halves of z: latent_dim is at least 2, not 1.")
        late = np.arange(self.latent_dim) >= (self.latent_dim + 1) // 2
        return np.where(late != self.reverse, 2, 1)

    def shift_and_log_scale(self, raw):
        shift, log_scale = super().shift_and_log_scale(raw)
        moved = (self.degrees() == 2).astype("float32")
        return moved * shift, moved * log_scale
