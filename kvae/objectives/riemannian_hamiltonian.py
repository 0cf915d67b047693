"""The Riemannian Hamiltonian bound: draws of q(z|x) that move in a space with a learned metric."""

import keras
import tensorflow as tf
from keras import layers, ops

from kvae.distributions.gaussian import standard_log_density
from kvae.distributions.metric import Metric
from kvae.objectives.hamiltonian import Flat, HamiltonianELBO
from kvae.objectives.objective import register
from kvae.utils import arguments

__all__ = ["RiemannianHamiltonianELBO"]


@register("riemannian_hamiltonian")
class RiemannianHamiltonianELBO(HamiltonianELBO):
    """RHVAE: `E[log p(x, z_K) N(ρ_K; 0, G(z_K)) / (q(z_0|x) N(γ; 0, G(z_0)))]`, in nats.

    `HamiltonianELBO` in a space whose metric G is learned:
    `G⁻¹(z) = Σ_i L_i L_iᵀ exp(−‖z − c_i‖² / T²) + λ I`. The centroids c_i are the means of
    q(z|x_i), and a network of x_i returns the lower triangular L_i, whose diagonal is positive. A
    momentum γ is drawn from N(0, G(z_0)), and K generalized leapfrog steps of the sizes ε follow
    `H(z, ρ) = −log p(x, z) + ½ ρᵀ G⁻¹(z) ρ + ½ log det G(z)`,

        ρ' = ρ − ε/2 ∂H/∂z (z, ρ');  z' = z + ε/2 (G⁻¹(z) + G⁻¹(z')) ρ';
        ρ ← ρ' − ε/2 ∂H/∂z (z', ρ'),

    where ρ' and z' are found by iteration, and then the tempering of `HamiltonianELBO`. Volumes
    are kept as far as the iteration has come to its end, which small steps see to.

    While it trains, the centroids are those of the batch. The last `num_centroids` of them are
    kept and saved with the model; validation measures with these, `inverse_metric(z)` is theirs,
    and `kvae.samplers.Manifold` draws z where they lie densely. `hamiltonian`, `elbo`,
    `reconstruction` and `kl` are those of `HamiltonianELBO`, and so are the model's encodings and
    its importance-sampled log p(x), which do not depend on the metric.

    Args:
        num_steps: int. K. Defaults to `3`.
        step_size: float. ε at first, from 0 to 0.5. Defaults to `0.01`.
        temperature: float. T. Defaults to `1.5`.
        regularization: float. λ. Defaults to `0.01`.
        num_centroids: int. Defaults to `1000`.
        num_iterations: int. Of each equation that is solved. Defaults to `3`.
        metric_width: int. Units of the one hidden layer of the network that returns L. Defaults to
            `400`.
        metric_network: keras.Model or `None`. Another network, from x as the encoder sees it to
            `latent_dim (latent_dim + 1) / 2` numbers: the logarithms of the diagonal of L, and then
            what is below it, row by row. Defaults to `None`: one is made.
        **settings: `tempering` and `num_samples` of `HamiltonianELBO`.

    Raises:
        TypeError: for a metric network that is no Keras network.
        ValueError: for numbers out of their range, and, with the model, for a posterior without a
            density or a mean, a z that is discrete or does not lie in R^latent_dim, no prior,
            missing values, and a metric network of other outputs.

    Example:

    ```python
    objective = kvae.objectives.RiemannianHamiltonianELBO(temperature=0.8)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, objective=objective)
    vae.compile("adam")
    vae.fit(x, epochs=2)
    sampler = kvae.samplers.Manifold().fit(vae, x)
    sampler.sample(16, seed=0)
    ```

    References:
        - [Chadebec et al., Geometry-Aware Hamiltonian Variational Auto-Encoder, section 3](
          https://arxiv.org/abs/2010.11518)
        - [Chadebec et al., Data Generation in Low Sample Size Setting Using Manifold Sampling and a
          Geometry-Aware VAE, section 3](https://arxiv.org/abs/2103.13751)
    """

    def __init__(
        self,
        num_steps: int = 3,
        step_size: float = 0.01,
        temperature: float = 1.5,
        regularization: float = 0.01,
        num_centroids: int = 1000,
        num_iterations: int = 3,
        metric_width: int = 400,
        metric_network=None,
        **settings,
    ):
        super().__init__(num_steps, step_size, **settings)
        for name, value in (("temperature", temperature), ("regularization", regularization)):
            if not arguments.number(name, value) > 0:
                raise ValueError(f"`{name}` is more than 0, not {value}.")
        self.temperature, self.regularization = float(temperature), float(regularization)
        self.num_centroids = arguments.whole("num_centroids", num_centroids)
        self.num_iterations = arguments.whole("num_iterations", num_iterations)
        self.metric_width = arguments.whole("metric_width", metric_width)
        if isinstance(metric_network, dict):
            metric_network = keras.saving.deserialize_keras_object(metric_network)
        if metric_network is not None and not isinstance(metric_network, keras.Model):
            raise TypeError(f"`metric_network` is a keras.Model or None, not {metric_network!r}.")
        self._given = metric_network is not None
        self.metric_network = metric_network

    def attach(self, vae):
        super().attach(vae)
        if vae.missing is not None:
            raise ValueError(
                f"The metric of {type(self).__name__} is one of whole examples, and this model "
                "takes missing values. Use objective='hamiltonian'."
            )

    def prepare(self, vae):
        if self.built:
            return
        size = vae.latent_dim
        shape = (None, *vae.event_shape)
        if self.metric_network is None:
            start = keras.initializers.GlorotUniform(vae.seed)
            small = keras.initializers.RandomNormal(stddev=0.01, seed=vae.seed + 1)
            self.metric_network = keras.Sequential(
                [
                    layers.Flatten(data_format="channels_last", dtype="float32"),
                    layers.Dense(
                        self.metric_width, "relu", kernel_initializer=start, dtype="float32"
                    ),
                    layers.Dense(size * (size + 1) // 2, kernel_initializer=small, dtype="float32"),
                ],
                name="metric",
            )
        if not self.metric_network.built:
            self.metric_network.build(shape)
        found = tuple(self.metric_network.compute_output_shape(shape))
        if found != (None, size * (size + 1) // 2):
            raise ValueError(
                f"`metric_network` returns the shape {found}, and a metric of {size} latents takes "
                f"(None, {size * (size + 1) // 2})."
            )
        kept = {"trainable": False, "aggregation": "only_first_replica", "initializer": "zeros"}
        self.centroids = self.add_weight(shape=(self.num_centroids, size), name="centroids", **kept)
        self.matrices = self.add_weight(
            shape=(self.num_centroids, size, size), name="matrices", **kept
        )
        self.seen = self.add_weight(shape=(), dtype="int32", name="seen", **kept)
        super().prepare(vae)

    def matrices_of(self, vae, x, training: bool = False):
        """Returns L Lᵀ of examples `[batch, *event]`, `[batch, latent_dim, latent_dim]`."""
        seen = vae.likelihood.encoder_input(tf.cast(x, tf.float32))
        values = tf.cast(self.metric_network(seen, training=training), tf.float32)
        size = vae.latent_dim
        lower = tf.linalg.diag(tf.exp(tf.clip_by_value(values[:, :size], -10.0, 10.0)))
        places = [(row, column) for row in range(size) for column in range(row)]
        if places:
            rest = tf.transpose(values[:, size:])
            shape = [size, size, tf.shape(values)[0]]
            lower = lower + tf.transpose(tf.scatter_nd(places, rest, shape), (2, 0, 1))
        return tf.linalg.matmul(lower, lower, transpose_b=True)

    def metric(self) -> Metric:
        """Returns the metric around the centroids that are kept."""
        centroids, matrices = self.centroids.value, self.matrices.value
        return Metric(centroids, matrices, self.temperature, self.regularization)

    def inverse_metric(self, z):
        """Returns G⁻¹ at z `[..., latent_dim]`: `[..., latent_dim, latent_dim]`."""
        return self.metric().inverse(tf.convert_to_tensor(z, tf.float32))

    def space_of(self, vae, x, params, training):
        if not training:
            return _Curved(self.metric(), self.num_iterations, {})
        centroids, matrices = vae.posterior.mean(params), self.matrices_of(vae, x, training)
        metric = Metric(centroids, matrices, self.temperature, self.regularization)
        kept = {"centroids": centroids, "matrices": matrices}
        return _Curved(metric, self.num_iterations, kept)

    def update(self, vae, x, target, terms, seed):
        count = min(self.num_centroids, terms["centroids"].shape[0] or self.num_centroids)
        centroids, matrices = terms["centroids"][-count:], terms["matrices"][-count:]
        places = (self.seen.value + tf.range(tf.shape(centroids)[0])) % self.num_centroids
        for variable, rows in ((self.centroids, centroids), (self.matrices, matrices)):
            new = tf.tensor_scatter_nd_update(variable.value, places[:, None], rows)
            variable.assign(new)
        self.seen.assign((self.seen.value + tf.shape(centroids)[0]) % self.num_centroids)

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "regularization": self.regularization,
            "num_centroids": self.num_centroids,
            "num_iterations": self.num_iterations,
            "metric_width": self.metric_width,
            "metric_network": keras.saving.serialize_keras_object(self.metric_network)
            if self._given
            else None,
        }


class _Curved(Flat):
    """The space R^d with a metric, in which momenta at z are of N(0, G(z))."""

    def __init__(self, metric: Metric, num_iterations: int, kept: dict):
        super().__init__()
        self.metric, self.num_iterations, self.kept = metric, num_iterations, kept

    def momentum(self, z, drawn):
        factor = self.metric.factor(z)  # A, so that G = A⁻ᵀ A⁻¹.
        momentum = tf.linalg.triangular_solve(factor, drawn[..., None], adjoint=True)[..., 0]
        return momentum, super().log_density(z, drawn) + self.metric.log_volume(factor)

    def log_density(self, z, momentum):
        factor = self.metric.factor(z)
        white = tf.linalg.matvec(factor, momentum, transpose_a=True)
        density = ops.sum(standard_log_density(white), axis=-1)
        return density + self.metric.log_volume(factor)

    def leap(self, joint, now, step, z, momentum):
        middle = momentum
        for _ in range(self.num_iterations):
            middle = momentum + 0.5 * step * (now[2] - self.metric.gradient(z, middle))
        start = tf.linalg.matvec(self.metric.inverse(z), middle)
        end = z + step * start
        for _ in range(self.num_iterations):
            there = tf.linalg.matvec(self.metric.inverse(end), middle)
            end = z + 0.5 * step * (start + there)
        now = joint(end)
        pull = now[2] - self.metric.gradient(end, middle)
        return end, middle + 0.5 * step * pull, now
