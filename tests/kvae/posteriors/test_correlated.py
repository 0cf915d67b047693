"""A linear-Gaussian model whose true posterior is correlated: what each Gaussian q can reach."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers
from keras.initializers import Constant

import kvae

N = 6


@dataclasses.dataclass
class Correlated:
    """`p(z) = N(0, I)`, `p(x|z) = N(W z + b, s² I)`, the columns of W far from orthogonal.

    Then `p(z|x) = N(Λ⁻¹ Wᵀ (x − b) / s², Λ⁻¹)` with the precision `Λ = I + Wᵀ W / s²`.
    """

    w: np.ndarray
    b: np.ndarray
    s: float

    @property
    def precision(self):
        return np.eye(self.w.shape[1]) + self.w.T @ self.w / self.s**2

    @property
    def gap(self):
        """KL from the best factorised Gaussian (variances 1 / Λ_ii) to p(z|x)."""
        log_det = np.linalg.slogdet(self.precision)[1]
        return 0.5 * (np.sum(np.log(np.diag(self.precision))) - log_det)

    def draw(self):
        rng = np.random.default_rng(1)
        z, noise = rng.normal(size=(N, self.w.shape[1])), rng.normal(size=(N, len(self.b)))
        return (z @ self.w.T + self.b + self.s * noise).astype("float32")

    def log_prob(self, x):
        cov = self.w @ self.w.T + self.s**2 * np.eye(len(self.b))
        return scipy.stats.multivariate_normal(self.b, cov).logpdf(np.float64(x))

    def vae(self, posterior, objective, **constants):
        """A VAE with this decoder, the exact posterior mean, and parameters without x."""
        d, latent_dim = self.w.shape
        gain = np.linalg.solve(self.precision, self.w.T) / self.s**2

        def dense(kernel, bias, inputs, name):
            return layers.Dense(
                len(bias),
                kernel_initializer=Constant(kernel),
                bias_initializer=Constant(bias),
                name=name,
            )(inputs)

        x, z = keras.Input((d,)), keras.Input((latent_dim,))
        outputs = {"z_mean": dense(gain.T, -gain @ self.b, x, "z_mean")}
        for name, value in constants.items():
            outputs[name] = dense(np.zeros((d, len(value))), value, x, name)
        return kvae.VAE(
            keras.Model(x, outputs),
            keras.Model(z, dense(self.w.T, self.b, z, "w")),
            latent_dim=latent_dim,
            posterior=posterior,
            likelihood=kvae.likelihoods.Gaussian(scale=self.s),
            objective=objective,
        )


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(7)
    w = rng.normal(size=(5, 1)) + 0.4 * rng.normal(size=(5, 3))  # Three columns much alike.
    return Correlated(w, rng.normal(size=5), 0.3)


def exact_full(model, **objective):
    factor = np.linalg.cholesky(np.linalg.inv(model.precision))
    return model.vae(
        "full_covariance",
        kvae.objectives.ELBO(**objective),
        z_log_var=2 * np.log(np.diag(factor)),
        z_lower=factor[np.tril_indices(3, -1)],
    )


def terms(vae, x, seed=0):
    return {
        name: np.float64(value)
        for name, value in vae.objective.terms(vae, x, x, training=False, seed=seed).items()
    }


def test_full_covariance_with_the_exact_posterior_reaches_log_p_x(model):
    x = model.draw()
    # log p(x, z) − log q(z|x) is log p(x) at every z: one sample has no error.
    by_sample = terms(exact_full(model, kl="monte_carlo"), x)
    np.testing.assert_allclose(by_sample["elbo"], model.log_prob(x), rtol=1e-4, atol=1e-4)
    estimate = exact_full(model).log_prob(x, num_samples=10)
    np.testing.assert_allclose(estimate.value, model.log_prob(x), rtol=1e-4, atol=1e-4)
    assert estimate.monte_carlo_error.max() < 1e-3
    # With the closed form of the KL the reconstruction keeps its noise.
    runs = [terms(exact_full(model, num_samples=2000), x, seed)["elbo"] for seed in range(8)]
    error = np.std(runs, axis=0, ddof=1) / np.sqrt(8)
    assert (np.abs(np.mean(runs, axis=0) - model.log_prob(x)) < 5 * error).all()
    assert error.max() < 0.05 * model.gap


@pytest.mark.slow  # The ELBO of such posteriors is exact in `test_objectives.py`.
def test_the_best_diagonal_gaussian_falls_short_by_the_known_gap(model):
    x = model.draw()
    assert model.gap > 1.0  # In nats: no small matter.
    log_var = -np.log(np.diag(model.precision))

    def shortfall(widen):
        """log p(x) − ELBO, each term of the ELBO a mean of 8 runs, with equal noise for all."""
        objective = kvae.objectives.ELBO(num_samples=2000, kl="analytic")
        vae = model.vae("diagonal_gaussian", objective, z_log_var=log_var + widen)
        return model.log_prob(x) - np.stack([terms(vae, x, seed)["elbo"] for seed in range(8)])

    best = shortfall(np.zeros(3))
    error = best.std(axis=0, ddof=1) / np.sqrt(8)
    assert (np.abs(best.mean(axis=0) - model.gap) < 5 * error).all()
    assert error.max() < 0.05 * model.gap
    for i in range(3):  # And it is the best: wider or narrower is worse.
        for sign in (-0.4, 0.4):
            assert (shortfall(sign * np.eye(3)[i]).mean(axis=0) > best.mean(axis=0)).all()
