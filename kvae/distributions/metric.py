"""A Riemannian metric around centroids: distances grow where no data are."""

import tensorflow as tf

__all__ = ["Metric"]


class Metric:
    """The metric G of which `G⁻¹(z) = Σ_i M_i exp(−‖z − c_i‖² / T²) + λ I`.

    A step costs little near the centroids c_i, along the directions in which M_i is large, and
    1 / √λ for each unit far from all of them.

    Args:
        centroids: tensor `[n, d]`. c.
        matrices: tensor `[n, d, d]`. M, symmetric and positive; 0 for a centroid that is none.
        temperature: float. T.
        regularization: float. λ.

    Reference:
        - [Chadebec et al., Data Generation in Low Sample Size Setting Using Manifold Sampling and a
          Geometry-Aware VAE, eq. 9](https://arxiv.org/abs/2103.13751)
    """

    def __init__(self, centroids, matrices, temperature: float, regularization: float):
        self.centroids, self.matrices = centroids, matrices
        self.temperature, self.regularization = temperature, regularization

    def shares(self, z):
        """Returns how much each centroid counts at z: `[..., d]` to `[..., n]`."""
        squares = tf.reduce_sum(self.centroids**2, axis=-1)
        squares = squares + tf.reduce_sum(z**2, axis=-1, keepdims=True)
        squares = squares - 2.0 * tf.einsum("...d,nd->...n", z, self.centroids)
        return tf.exp(-tf.maximum(squares, 0.0) / self.temperature**2)

    def inverse(self, z, shares=None):
        """Returns G⁻¹ at z, `[..., d, d]`; `shares` are those at z, where they are known."""
        shares = self.shares(z) if shares is None else shares
        found = tf.einsum("...n,nab->...ab", shares, self.matrices)
        return found + self.regularization * tf.eye(self.centroids.shape[-1])

    def factor(self, z, shares=None):
        """Returns the lower triangular A of which A Aᵀ is G⁻¹ at z, `[..., d, d]`."""
        return tf.linalg.cholesky(self.inverse(z, shares))

    def log_volume(self, factor):
        """Returns `½ log det G⁻¹` of a factor of `factor`, `[...]`."""
        return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), axis=-1)

    def gradient(self, z, momentum=None, shares=None, factor=None):
        """Returns the derivative by z of `½ ρᵀ G⁻¹(z) ρ − ½ log det G⁻¹(z)`, `[..., d]`.

        Args:
            z: tensor `[..., d]`.
            momentum: tensor like z. ρ. Defaults to `None`: 0.
            shares, factor: tensors. Those at z, where they are known. Default to `None`.
        """
        shares = self.shares(z) if shares is None else shares
        factor = self.factor(z, shares) if factor is None else factor
        identity = tf.eye(z.shape[-1], batch_shape=tf.shape(z)[:-1])
        metric = tf.linalg.cholesky_solve(factor, identity)
        if momentum is not None:  # The trace of (G − ρ ρᵀ) M_i is tr(G M_i) − ρᵀ M_i ρ.
            metric = metric - momentum[..., :, None] * momentum[..., None, :]
        pulls = shares * tf.einsum("...ab,nab->...n", metric, self.matrices)
        towards = tf.einsum("...n,nd->...d", pulls, self.centroids)
        away = tf.reduce_sum(pulls, axis=-1, keepdims=True) * z - towards
        return away / self.temperature**2
