"""The checks of every prior."""

import numpy as np
import tensorflow as tf

from kvae import posteriors, random
from kvae.distributions import base_noise
from kvae.testing import numerics
from kvae.testing.models import BATCH, DIMENSIONS, check_loss, default_posterior, tiny_vae
from kvae.testing.parts import check_part, copied

__all__ = ["check_prior"]

_DRAWS = 4000


def check_prior(
    prior, *, latent_dim: int = 2, posterior=None, exact: bool = True, xla: bool = True
) -> None:
    """Checks what every prior promises.

    - What `check_part` checks; one with the same weights has the same density.
    - Its base noise is declared, and `sample` is `transform` of it; draws repeat with their seed,
      and are the same in eager mode, in a graph, compiled by XLA and from `precomputed`.
    - A temperature of 1, as a tensor, leaves the bits as they are.
    - The density has one number for each z, integrates to 1 and is that of the draws.
    - The gradient of the density is that of finite differences, and it is finite far out.
    - A model with it has a finite loss and finite gradients.

    Args:
        prior: `kvae.priors.Prior`, new. It is not changed.
        latent_dim: int. Size of z. Priors on the sphere are checked in 3 dimensions. Defaults to
            `2`.
        posterior: str, `kvae.posteriors.Posterior` or `None`. The posterior of the model that it is
            a part of. Defaults to `None`: a usual one on the prior's space.
        exact: bool. Whether `log_prob` is the density and not an estimate of it. Defaults to
            `True`.
        xla: bool. Whether to compile, which takes some seconds. Defaults to `True`.

    Raises:
        AssertionError: for a promise that is broken.

    Example:

    ```python
    kvae.testing.check_prior(kvae.priors.GaussianMixture(3), xla=False)
    ```
    """
    name = type(prior).__name__
    check_part(prior)
    space = prior.space
    posterior = default_posterior(space) if posterior is None else posteriors.get(posterior)
    latent_dim = DIMENSIONS.get(space, prior.latent_dim or latent_dim)
    vae = tiny_vae(latent_dim, posterior=posterior, prior=copied(prior))
    vae.build((None, *vae.event_shape))
    own, label = vae.prior, None
    if own.conditional:
        label = tf.constant([0, 1, 2, 0])
    given = own.conditioned_on(label)
    check_loss(vae, name, label)
    _check_base_noise(given, name)
    _check_draws(given, name, xla)
    z = given.sample(BATCH, seed=1)
    log_p = given.log_prob(z)
    assert log_p.shape == (BATCH,), f"{name}: log p has shape {log_p.shape}, not {(BATCH,)}."
    both = given.log_prob(tf.stack([z, z]))
    assert both.shape == (2, BATCH), f"{name}: log p of two leading axes has shape {both.shape}."
    if exact:
        numerics.close(both, tf.stack([log_p, log_p]), f"{name}: log p of two leading axes")
    numerics.close(given(z), log_p, f"{name}: a call")
    numerics.close(given.precomputed().log_prob(z), log_p, f"{name}: log p of `precomputed`")
    assert np.shape(given.mean())[-1] == latent_dim, f"{name}: the shape of its mean."
    _check_twin(prior, vae, label, z, log_p, name)
    if exact:
        one = own.conditioned_on(None if label is None else label[:1])
        numerics.agree_with_draws(
            one.sample(_DRAWS, seed=2), lambda z: one.log_prob(tf.constant(z)), name, own.space
        )
    if own.space == "real":
        numerics.gradients_are_right(lambda v: given.log_prob(v["z"]), {"z": z}, f"{name}: log p")
        for far in (-1e4, 1e4):
            numerics.finite(given.log_prob(tf.fill(z.shape, far)), f"{name}: log p at {far:g}")


def _check_base_noise(given, name) -> None:
    declared = given.base_noise()
    assert declared, f"{name}: it declares no base noise."
    for key, noise in declared.items():
        assert noise.size >= 1 and noise.distribution in ("normal", "uniform"), (
            f"{name}: the base noise {key!r} is {noise}."
        )
        assert key.endswith("uniform") == (noise.distribution == "uniform"), (
            f"{name}: exported models tell uniform noise by a name that ends in 'uniform', and "
            f"{key!r} is {noise.distribution}."
        )


def _check_draws(given, name, xla) -> None:
    z = given.sample(BATCH, seed=1)
    assert z.dtype == tf.float32, f"{name}: z is {z.dtype.name}."
    assert z.shape == (BATCH, given.latent_dim), f"{name}: z has shape {z.shape}."
    numerics.same(given.sample(BATCH, seed=1), z, f"{name}: draws of one seed")
    noise = base_noise.draw(given.base_noise(), [BATCH], 1)
    numerics.same(given.transform(noise), z, f"{name}: `sample` and `transform` of the base noise")
    one = tf.constant(1.0)
    numerics.same(given.transform(noise, one), z, f"{name}: a temperature of 1, as a tensor")
    numerics.finite(given.transform(noise, 0.0), f"{name}: draws at a temperature of 0")
    numerics.close(given.precomputed().transform(noise), z, f"{name}: draws of `precomputed`")
    many = [given.sample(16 * BATCH, seed=seed) for seed in (1, 2)]
    assert not np.array_equal(*many), f"{name}: draws do not depend on the seed."
    numerics.agree_in_graphs(
        lambda seed: given.sample(BATCH, seed), (random.as_seed(1),), f"{name}: draws", xla
    )


def _check_twin(prior, vae, label, z, log_p, name) -> None:
    """A saved prior: the configuration, and the weights."""
    if not vae.prior.weights:
        return
    config = vae.get_config()
    other = type(vae).from_config(config)
    other.build((None, *vae.event_shape))
    other.set_weights(vae.get_weights())
    twin = other.prior.conditioned_on(label)
    numerics.close(
        twin.log_prob(z), log_p, f"{name}: log p of one with the same weights", 1e-5, 1e-5
    )
