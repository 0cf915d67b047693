"""The checks of every posterior."""

import numpy as np
import tensorflow as tf

from kvae import divergences, priors, random
from kvae.testing import numerics
from kvae.testing.models import (
    BATCH,
    DIMENSIONS,
    check_loss,
    default_prior,
    examples,
    tiny_vae,
)
from kvae.testing.parts import check_part, copied, policy

__all__ = ["check_posterior"]

_FEATURES = 5
_DRAWS = 4000


def check_posterior(posterior, *, latent_dim: int = 2, prior=None, xla: bool = True) -> None:
    """Checks what every posterior promises.

    - What `check_part` checks.
    - Features become parameters of the shapes that it declares, from its own heads or as a dict; a
      saved posterior gives the same ones.
    - Draws have the shapes that they should, repeat with their seed, and are the same in eager
      mode, in a graph and compiled by XLA.
    - The density is one of these draws: it integrates to 1 and agrees with `sample_and_log_prob`.
    - The gradients of draws and densities are those of finite differences.
    - Extreme outputs of an encoder give finite draws, densities, KL divergences and gradients.
    - A model with it has a finite loss and finite gradients.

    Args:
        posterior: `kvae.posteriors.Posterior`, new. It is not changed.
        latent_dim: int. Size of z. Posteriors on the sphere are checked in 3 dimensions. Defaults
            to `2`.
        prior: str, `kvae.priors.Prior` or `None`. The prior of the model that it is a part of.
            Defaults to `None`: a usual one on the posterior's space.
        xla: bool. Whether to compile, which takes some seconds. Defaults to `True`.

    Raises:
        AssertionError: for a promise that is broken.

    Example:

    ```python
    kvae.testing.check_posterior(kvae.posteriors.Laplace(), xla=False)
    ```
    """
    name = type(posterior).__name__
    check_part(posterior)
    prior = default_prior(posterior) if prior is None else priors.get(prior)
    space = prior.space if posterior.ignores_x else posterior.space
    latent_dim = DIMENSIONS.get(space, latent_dim)
    vae = tiny_vae(latent_dim, posterior=copied(posterior), prior=prior)
    vae.build((None, *vae.event_shape))
    check_loss(vae, name)
    own = vae.posterior
    params = _check_parameters(posterior, own, vae, name)
    _check_draws(own, params, name, xla)
    if own.has_density:
        _check_density(own, params, space, name)
    if not own.discrete:
        _check_gradients(own, params, name)
    _check_extremes(own, vae.prior, name)


def _check_parameters(posterior, own, vae, name) -> dict:
    features = vae.encoder(examples(vae))
    params = own(features)
    for key, shape in own.parameter_shapes().items():
        assert params[key].shape == (BATCH, *shape), (
            f"{name}: {key!r} has shape {params[key].shape}, and {(BATCH, *shape)} is declared."
        )
    twin = copied(posterior)
    twin.latent_dim = own.latent_dim
    twin.attach(vae)
    with policy("mixed_float16"):
        twin.build(features.shape)
    twin.set_weights(own.get_weights())
    numerics.same(twin(features), params, f"{name}: one with the same weights, parameters")
    for key, value in params.items():
        assert value.dtype in (tf.float32, tf.int32), f"{name}: {key!r} is {value.dtype.name}."
    return params


def _check_draws(own, params, name, xla) -> None:
    for num_samples, lead in ((None, ()), (3, (3,))):
        z = own.sample(params, num_samples, seed=1)
        assert z.shape == (*lead, BATCH, own.latent_dim), f"{name}: z has shape {z.shape}."
        assert z.dtype == tf.float32, f"{name}: z is {z.dtype.name}."
        numerics.same(own.sample(params, num_samples, seed=1), z, f"{name}: draws of one seed")
        other = own.sample(params, num_samples, seed=2)
        if own.deterministic:
            numerics.same(other, z, f"{name}: it is deterministic, but draws depend on the seed")
    if not (own.deterministic or own.discrete):
        assert not np.array_equal(z, other), f"{name}: draws do not depend on the seed."
    assert own.mean(params).shape == (BATCH, own.latent_dim), f"{name}: the shape of its mean."

    def draw(params, seed):
        if not own.has_density:
            return (own.sample(params, 2, seed=seed),)
        return own.sample_and_log_prob(params, 2, seed=seed)

    numerics.agree_in_graphs(draw, (params, random.as_seed(1)), f"{name}: draws", xla)


def _check_density(own, params, space, name) -> None:
    z, log_q = own.sample_and_log_prob(params, 3, seed=1)
    assert log_q.shape == (3, BATCH), f"{name}: log q has shape {log_q.shape}."
    numerics.same(z, own.sample(params, 3, seed=1), f"{name}: draws with and without density")
    one = {key: value[:1] for key, value in params.items()}
    draws, log_q_of_draws = own.sample_and_log_prob(one, _DRAWS, seed=2)
    if own.tractable:
        numerics.close(
            log_q, own.log_prob(params, z), f"{name}: log q of its own draws", 1e-3, 1e-3
        )
        if not own.ignores_x:
            cross = own.cross_log_prob(params, z)
            for k in range(BATCH):
                row = f"{name}: cross_log_prob"
                numerics.close(cross[:, k, k], log_q[:, k], row, 1e-3, 1e-3)

        def log_prob(z):
            return own.log_prob(one, tf.constant(z)[:, None])[:, 0]

    else:
        known = {
            z.tobytes(): value
            for z, value in zip(np.asarray(draws[:, 0]), log_q_of_draws[:, 0].numpy(), strict=True)
        }

        def log_prob(z):
            return np.array([known[row.tobytes()] for row in z])

    numerics.agree_with_draws(draws[:, 0], log_prob, f"{name}: q(z|x)", space)


def _check_gradients(own, params, name) -> None:
    """The gradient of E[f(z)] through the draws, against differences of the same draws."""
    if own.tractable and own.has_density:
        z = own.sample(params, 3, seed=4)
        numerics.gradients_are_right(
            lambda values: own.log_prob(params, values["z"]), {"z": z}, f"{name}: log q"
        )
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=own.latent_dim).astype("float32")
    # One row for each draw, so that a gradient of the sum has a gradient of each.
    count = 1 if own.deterministic else 1000
    params = {key: tf.repeat(value[:1], count, axis=0) for key, value in params.items()}
    noise = own.draw_noise(params, None, seed=3)

    def values(params):
        """f(z) = a·z + sin(z_1) for each draw."""
        z = own.transform(params, noise)
        return tf.reduce_sum(z * slopes, axis=-1) + tf.sin(z[..., 0])

    with tf.GradientTape() as tape:
        tape.watch(params)
        total = tf.reduce_sum(values(params))
    gradients = tape.gradient(total, params, unconnected_gradients="zero")
    step = 0.02
    for key in own.parameter_shapes():
        direction = rng.normal(size=(1, *params[key].shape[1:])).astype("float32")
        ends = [
            np.float64(values({**params, key: params[key] + sign * step * direction}))
            for sign in (1.0, -1.0)
        ]
        along = np.float64(gradients[key] * direction).reshape(count, -1).sum(axis=1)
        off = along - (ends[0] - ends[1]) / (2 * step)
        error = off.std() / np.sqrt(count)
        allowed = 5 * error + 5e-3 * np.abs(along).mean() + 1e-3
        assert abs(off.mean()) < allowed, (
            f"{name}: the gradient of draws in {key!r} is off by {off.mean():.3g} ± {error:.2g}."
        )


def _check_extremes(own, prior, name) -> None:
    """Raw parameters far outside of what is sensible: an encoder may return anything."""
    kl = divergences.closed_form_kl(own, prior)
    rows = np.repeat(np.float32([-1e4, 1e4]), 2)
    raw = {
        key: tf.constant(np.broadcast_to(rows.reshape(-1, *(1 for _ in shape)), (4, *shape)))
        for key, shape in own.parameter_shapes().items()
    }
    if not raw:
        return
    with tf.GradientTape() as tape:
        tape.watch(raw)
        params = own(raw)
        outputs = [own.sample(params, 3, seed=0)]
        if own.has_density and not own.discrete:
            outputs.append(own.sample_and_log_prob(params, 3, seed=0)[1])
        if kl is not None:
            outputs.append(kl(params))
        total = tf.add_n([tf.reduce_sum(1e-3 * output) for output in outputs])
    numerics.finite(outputs, f"{name}: draws, densities or KL at parameters of -1e4 and 1e4")
    gradients = [g for g in tape.gradient(total, raw).values() if g is not None]
    numerics.finite(gradients, f"{name}: gradients at parameters of -1e4 and 1e4")
