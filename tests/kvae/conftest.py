"""Tiny models and data."""

import numpy as np
import pytest

EVENT = (8, 8, 1)


@pytest.fixture(scope="session")
def digits():
    """64 handwritten digits in [0, 1], float32 `[64, 8, 8, 1]`."""
    from kvae import datasets

    return datasets.load("digits", "train").examples[:64]


@pytest.fixture(scope="session")
def make_encoder():
    """`make_encoder(event, declared=True)`: dense features; not `declared` leaves out the Input."""
    import keras
    from keras import layers

    def make(event=EVENT, declared=True, width=16, extra=()):
        inputs = [keras.Input(event)] if declared else []
        return keras.Sequential(
            [*inputs, layers.Flatten(), layers.Dense(width, "relu"), *extra], name="encoder"
        )

    return make


@pytest.fixture(scope="session")
def make_decoder():
    """`make_decoder(output_shape, latent_dim)`: dense, linear outputs."""
    import keras
    from keras import layers

    def make(output_shape=EVENT, latent_dim=2, declared=True):
        inputs = [keras.Input((latent_dim,))] if declared else []
        size = int(np.prod(output_shape))
        return keras.Sequential(
            [*inputs, layers.Dense(16, "relu"), layers.Dense(size), layers.Reshape(output_shape)],
            name="decoder",
        )

    return make


@pytest.fixture(scope="session")
def part():
    """`part(priors, "vamp")`: a part by name, as small as it can be."""
    small = {
        "gumbel_softmax": {"num_categories": 2},
        "uniform_categorical": {"num_categories": 2},
        "finite_scalar": {"levels": (3, 3)},
        "hierarchical_residual": {"num_embeddings": 8, "embedding_dim": 2, "num_levels": 1},
        "lookup_free": {"bits": 2},
        "sim_vq": {"num_embeddings": 8, "embedding_dim": 2},
        "vector_quantized": {"num_embeddings": 8, "embedding_dim": 2},
        "vamp": {"num_components": 3},
        "gaussian_mixture": {"num_components": 3},
        "spherical_mixture": {"num_components": 3},
    }

    def part(module, name):
        return module.REGISTER[name](**small[name]) if name in small else module.get(name)

    return part


@pytest.fixture(scope="session")
def make_vae(make_encoder, make_decoder):
    """`make_vae(event, latent_dim, ...)`: the same initial weights at every call.

    With an `optimizer` it is compiled; `eager` saves the seconds that tracing takes.
    """
    import keras

    import kvae

    def make(
        event=EVENT,
        latent_dim=2,
        encoder=None,
        decoder=None,
        optimizer=None,
        eager=False,
        **parts,
    ):
        keras.utils.set_random_seed(3)
        likelihood = kvae.likelihoods.get(parts.pop("likelihood", "bernoulli"))
        vae = kvae.VAE(
            encoder or make_encoder(event),
            decoder or make_decoder(likelihood.output_shape(event), latent_dim),
            latent_dim=latent_dim,
            likelihood=likelihood,
            **parts,
        )
        if optimizer is not None:
            vae.compile(optimizer, run_eagerly=eager)
        return vae

    return make


@pytest.fixture
def policy():
    """`policy("mixed_float16")` sets Keras's dtype policy for the rest of the test."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="session")
def make_linear():
    """A class of models whose decoder is known, for the pictures."""
    from kvae.posteriors import DiagonalGaussian
    from kvae.priors import StandardNormal

    class Linear:
        """A model whose decoder is known, 0.5 + z @ weights, and which records what it is given."""

        def __init__(self, event_shape=(4, 4, 1), latent_dim=2, log_var=None, seed=0):
            size = int(np.prod(event_shape))
            self.event_shape, self.latent_dim = event_shape, latent_dim
            self.posterior, self.prior = DiagonalGaussian(latent_dim), StandardNormal(latent_dim)
            self.weights = np.random.default_rng(seed).normal(0, 0.05, (latent_dim, size))
            self.log_var = np.zeros(latent_dim) if log_var is None else np.asarray(log_var)
            self.decoded, self.sampled = [], []

        def encode(self, x):
            z = (np.asarray(x).reshape(len(x), -1) - 0.5) @ np.linalg.pinv(self.weights)
            return {"z_mean": z.astype("float32"), "z_log_var": np.tile(self.log_var, (len(x), 1))}

        def decode(self, z):
            self.decoded.append(np.array(z))
            return (0.5 + z @ self.weights).reshape(-1, *self.event_shape).astype("float32")

        def reconstruct(self, x, seed=None):
            return self.decode(self.encode(x)["z_mean"])

        def sample(self, n, seed=None, output="mean"):
            self.sampled.append((n, seed, output))
            if self.prior is None:
                raise ValueError("no prior to sample from")
            return self.decode(np.random.default_rng(seed).normal(size=(n, self.latent_dim)))

        def codes(self, n, seed=1):
            """Examples [n, *event] and the codes [n, D] that `encode` gives back for them."""
            z = np.random.default_rng(seed).normal(size=(n, self.latent_dim))
            return (0.5 + z @ self.weights).reshape(n, *self.event_shape).astype("float32"), z

    return Linear
