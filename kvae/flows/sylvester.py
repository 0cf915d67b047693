"""The orthogonal Sylvester flow."""

import tensorflow as tf
from keras import ops

from kvae.flows.flow import Flow, register

__all__ = ["Sylvester"]


@register("sylvester")
class Sylvester(Flow):
    """`f(z) = z + Q R tanh(R̃ Qᵀ z + b)`: a planar flow along several directions at once.

    Q has `num_ortho` orthonormal columns, R and R̃ are upper triangular with diagonals in (−1, 1),
    so that the determinant is a product and the map can be inverted (not in closed form). All are
    amortised. Q comes out of a QR decomposition of the encoder's output plus the identity; the
    paper orthogonalises by an iteration, which finds another basis for the same purpose.

    Args:
        latent_dim: int or `None`. Size of z. When `None`, the posterior or prior that has the flow
            sets it.
        num_ortho: int or `None`. Columns of Q, at most `latent_dim`. Defaults to the smaller of
            `latent_dim` and 8.

    Parameters: `q`, `[batch, latent_dim, M]`; `r` and `r_tilde`, `[batch, M, M]` (what is below
    the diagonal is ignored; the diagonals go through tanh); `b`, `[batch, M]`.

    Example:

    ```python
    posterior = kvae.posteriors.Flow(flows=[kvae.flows.Sylvester(num_ortho=4)] * 2)
    ```

    Reference:
        - [van den Berg et al., Sylvester Normalizing Flows, section 3](
          https://arxiv.org/abs/1803.05649)
    """

    def __init__(self, latent_dim=None, num_ortho: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        if num_ortho is not None and num_ortho < 1:
            raise ValueError(f"`num_ortho` is at least 1, not {num_ortho}.")
        self.num_ortho = num_ortho

    def _columns(self) -> int:
        columns = min(self.latent_dim, 8) if self.num_ortho is None else self.num_ortho
        if columns > self.latent_dim:
            raise ValueError(
                f"`num_ortho` is at most latent_dim={self.latent_dim}, not {self.num_ortho}."
            )
        return columns

    def parameter_shapes(self):
        m = self._columns()
        return {"q": (self.latent_dim, m), "r": (m, m), "r_tilde": (m, m), "b": (m,)}

    def forward(self, params, z):
        eye = tf.eye(self.latent_dim, self._columns())
        q, _ = tf.linalg.qr(params["q"] + eye)
        r, diagonal = _triangle(params["r"])
        r_tilde, diagonal_tilde = _triangle(params["r_tilde"])
        within = tf.einsum("...d,...dm->...m", z, q)
        h = ops.tanh(tf.linalg.matvec(r_tilde, within) + params["b"])
        step = tf.einsum("...dm,...m->...d", q, tf.linalg.matvec(r, h))
        slope = (1.0 - ops.square(h)) * diagonal * diagonal_tilde
        return z + step, ops.sum(ops.log(ops.maximum(1.0 + slope, 1e-7)), axis=-1)

    def get_config(self):
        return {**super().get_config(), "num_ortho": self.num_ortho}


def _triangle(raw):
    """Returns the upper triangle of `raw`, with a diagonal in (−1, 1), and that diagonal."""
    diagonal = ops.tanh(tf.linalg.diag_part(raw))
    return tf.linalg.set_diag(tf.linalg.band_part(raw, 0, -1), diagonal), diagonal
