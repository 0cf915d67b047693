"""Annealed importance sampling: a second estimate of log p(x)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import random
from kvae.evaluation.marginal_likelihood.log_prob import LogProb, log_mean
from kvae.utils import arguments, names
from kvae.utils.eager import evaluated_eagerly

__all__ = ["anneal", "annealed_log_prob"]

_STARTS = ("posterior", "prior")
# Hamiltonian Monte Carlo explores fastest at about this rate of accepted moves.
_ACCEPTANCE = 0.65
_FIRST_STEP, _SMALLEST_STEP, _LARGEST_STEP = 0.1, 1e-4, 2.0
# The inverse temperatures follow a sigmoid from −4 to 4: slowly at both ends.
_SIGMOID = 4.0


@evaluated_eagerly
def annealed_log_prob(
    model: Any,
    x: Any,
    *,
    num_chains: int = 16,
    num_steps: int = 200,
    num_leapfrog: int = 10,
    start: str = "posterior",
    batch_size: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    label: ArrayLike | None = None,
) -> LogProb:
    """Estimates log p(x) by annealed importance sampling (AIS), to check `importance_log_prob`.

    Importance samples from q(z|x) miss the regions that q misses. Here each of `num_chains` chains
    goes from a start density f₀ (the posterior q(z|x), or the prior) to `f₁(z) = p(z) p(x|z)` along

        f_β(z) = f₀(z)^(1−β) f₁(z)^β,  0 = β₀ < β₁ < … < β_T = 1,

    moving z by Hamiltonian Monte Carlo that leaves each f_β invariant, and collects the weight `w =
    Π_t f_βt(z_t) / f_β(t−1)(z_t)`, with E[w] = p(x) whatever the number of steps. Like that of
    importance sampling, the logarithm of the mean weight is a lower bound of log p(x) in
    expectation, which more steps and more chains make tighter. Chains that start from the prior do
    not depend on q: an estimate above `importance_log_prob` by more than the errors shows a fault
    of q, and one below it that the chains need more steps.

    The step sizes, one for each example and temperature, come from chains of their own that are run
    before and aim at an acceptance of 65 %. They are constants for the chains that are counted, so
    the weights stay unbiased, and the estimate is a function of the seed.

    Args:
        model: `kvae.VAE` with latents in R^latent_dim.
        x: array `[n, *event]` in the likelihood's support, or data of any kind that `vae.encode`
            takes.
        num_chains: int. Independent chains for each example. Defaults to `16`.
        num_steps: int. Temperatures T. `1` is plain importance sampling from the start density.
            Defaults to `200`.
        num_leapfrog: int. Leapfrog steps of each move. Defaults to `10`.
        start: str. `"posterior"` or `"prior"`. Defaults to `"posterior"`.
        batch_size: int. Examples at once. Defaults to `100`.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples.
        label: int array `[n]` for a conditional model, whose log p(x|y) is estimated. Defaults to
            `None`: the labels of the data. With an objective that guesses labels, its guess is y
            where none is known; `kvae.VAE.log_prob` estimates log p(x) there.

    Returns:
        `LogProb`, its `num_samples` the number of chains. An `effective_sample_size` near 1 says
        that steps are missing.

    Raises:
        ValueError: for an autoencoder, latents on a sphere, or a posterior whose density is known
            for its own draws alone, with `start="posterior"`.

    Example:

    ```python
    check = kvae.evaluation.annealed_log_prob(vae, test[:10], start="prior", num_steps=1000)
    check.value - vae.log_prob(test[:10], num_samples=5000).value     # near 0
    ```

    References:
        - [Wu et al., On the Quantitative Analysis of Decoder-Based Generative Models](
          https://arxiv.org/abs/1611.04273)
        - [Neal, Annealed Importance Sampling](https://arxiv.org/abs/physics/9803008)
    """
    if start not in _STARTS:
        raise names.unknown_name("start", start, _STARTS)
    if not model.posterior.has_density:
        raise ValueError(
            f"{model.name} is an autoencoder ({type(model.posterior).__name__} posterior): it "
            "defines no log p(x). Compare it by its reconstruction error."
        )
    if start == "posterior" and not model.posterior.tractable:
        raise ValueError(
            f"{type(model.posterior).__name__} knows the density of its own draws alone. Use "
            "start='prior'."
        )
    _check_counts(num_steps=num_steps)
    batches = anneal(
        model,
        x,
        _inverse_temperatures(num_steps),
        num_chains=num_chains,
        num_leapfrog=num_leapfrog,
        start=start,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        label=label,
    )
    return _log_mean(np.concatenate([log_weight for log_weight, _ in batches], axis=1))


def anneal(
    model: Any,
    x: Any,
    betas: np.ndarray,
    *,
    num_chains: int,
    num_leapfrog: int,
    start: str,
    batch_size: int,
    seed: int,
    progress: Callable[[int], object] | None,
    label: ArrayLike | None,
) -> Iterator[tuple]:
    """Runs the chains through the inverse temperatures `betas`, `[T + 1]` from 0, in batches.

    Yields:
        For each batch the log-weights `[num_chains, batch]`, and the course `[T, 2, batch]`: for
        each β_1, …, β_T the logarithm of the mean weight, which estimates log ∫ f_β, and the mean
        of log f₁(z) − log f₀(z) under f_β.

    Raises:
        ValueError: for latents elsewhere than in R^latent_dim, and for counts below 1.
    """
    if model.posterior.space != "real":
        raise ValueError(
            f"{type(model.posterior).__name__} puts z elsewhere than anywhere in R^latent_dim "
            f"({model.posterior.space}), which Hamiltonian moves would leave. Use "
            "importance_log_prob."
        )
    _check_counts(num_chains=num_chains, num_leapfrog=num_leapfrog, batch_size=batch_size)
    run = _chains(model, start)
    num_steps = len(betas) - 1
    betas = tf.constant(betas, tf.float32)
    base = random.as_seed(seed)
    first = 0
    for batch, own in model.event_rows(x, label, batch_size):

        def chains(steps, seed, adapt, batch=batch, own=own):
            rows = batch, own, betas, tf.reshape(steps, [-1])
            others = num_chains, num_leapfrog, seed, adapt
            return model.run_compiled(f"anneal from the {start}", run, rows, *others)

        pilot_seed, chain_seed = random.split(random.fold_in(base, first))
        first += len(batch)
        steps = tf.fill([num_steps, len(batch)], _FIRST_STEP)
        if num_steps > 1:
            _, steps, _ = chains(steps, pilot_seed, True)
        log_weight, _, course = chains(steps, chain_seed, False)
        yield log_weight.numpy(), course.numpy()
        if progress is not None:
            progress(first)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        arguments.whole(name, value)


def _inverse_temperatures(num_steps: int) -> np.ndarray:
    """Returns β₀ = 0, …, β_T = 1, `[num_steps + 1]`."""
    curve = 1.0 / (1.0 + np.exp(-_SIGMOID * np.linspace(-1.0, 1.0, num_steps + 1)))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def _log_mean(log_weight) -> LogProb:
    """Returns the logarithm of the mean weight over the first axis, with its diagnostics."""
    num, largest = len(log_weight), log_weight.max(axis=0)
    weight = np.exp(log_weight - largest)
    kept = -np.sort(-log_weight.T, axis=1)
    return LogProb(
        **log_mean(largest, weight.sum(axis=0), (weight**2).sum(axis=0), kept, num), num_samples=num
    )


def _chains(model, start: str):
    """Returns the function that runs the chains of a batch through all temperatures."""

    def run(x, label, betas, step_sizes, num_chains, num_leapfrog, seed, adapt):
        given = model.conditioned_on(label)
        step_sizes = tf.reshape(step_sizes, [-1, tf.shape(x)[0]])
        posterior, prior, params = (
            given.posterior,
            given.prior.precomputed(),
            given.encode_params(x),
        )
        first_seed, seed = random.split(seed)
        batch = tf.shape(x)[0]
        if start == "posterior":
            z = posterior.sample(params, num_chains, seed=first_seed)
        else:
            z = prior.sample(num_chains * batch, first_seed)
        z = tf.ensure_shape(
            tf.reshape(z, (num_chains, batch, model.latent_dim)), (None, None, model.latent_dim)
        )

        def evaluated(z, values: bool = True):
            """Returns log f₀ and log f₁ of z `[num_chains, batch, latent_dim]`, and gradients.

            Without `values` it returns the gradients alone.
            """
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(z)
                log_prior = prior.log_prob(z)
                log_q = posterior.log_prob(params, z) if start == "posterior" else None
                decoded = given.decode_params(z)
                # TensorFlow computes all that stands in a loop inside of another one, also what
                # nobody asks for.
                known = None if values else model.likelihood.log_prob_gradient(decoded, x)
                log_px = model.likelihood.log_prob(decoded, x) if known is None else None

            def gradient(value, by=None):
                return tape.gradient(value, z, by, unconnected_gradients="zero")

            prior_gradient = gradient(log_prior)
            if known is None:
                end = prior_gradient + gradient(log_px)
            else:
                names = list(known)
                by = [known[name] for name in names]
                end = prior_gradient + gradient([decoded[name] for name in names], by)
            gradients = prior_gradient if log_q is None else gradient(log_q), end
            if not values:
                return gradients
            return log_prior if log_q is None else log_q, log_prior + log_px, *gradients

        def at(beta, first, second):
            return (1.0 - beta) * first + beta * second

        def move(z, log_start, log_end, start_gradient, end_gradient, beta, size, seed):
            """Makes a move that leaves f_β invariant; returns the accepted share too, `[batch]`.

            What is known of z is taken and returned, so that nothing is computed twice. Densities
            are computed at the end of a trajectory alone, and only gradients on the way.
            """
            momentum_seed, accept_seed = random.split(seed)
            drawn = random.normal(tf.shape(z), momentum_seed)
            size = size[:, None]

            def leapfrog(i, z, momentum):
                z = z + size * momentum
                return i + 1, z, momentum + size * at(beta, *evaluated(z, values=False))

            momentum = drawn + 0.5 * size * at(beta, start_gradient, end_gradient)
            _, new, momentum = tf.while_loop(
                lambda i, *_: i < num_leapfrog, leapfrog, (tf.constant(1), z, momentum)
            )
            new = new + size * momentum
            found = new, *evaluated(new)
            momentum = momentum + 0.5 * size * at(beta, *found[3:])

            def energy(log_start, log_end, momentum):
                kinetic = 0.5 * tf.reduce_sum(tf.square(momentum), axis=-1)
                return at(beta, log_start, log_end) - kinetic

            change = energy(*found[1:3], momentum) - energy(log_start, log_end, drawn)
            # NaN, where a trajectory has flown away, is not accepted.
            accept = tf.math.log(random.uniform(tf.shape(change), accept_seed)) < change
            share = tf.reduce_mean(tf.cast(accept, tf.float32), axis=0)
            known = z, log_start, log_end, start_gradient, end_gradient
            return share, *(
                tf.where(accept if old.shape.rank == 2 else accept[..., None], value, old)
                for value, old in zip(found, known, strict=True)
            )

        num_steps = tf.shape(betas)[0] - 1
        known = z, *evaluated(z)

        def log_ratio(known):
            return tf.cast(known[2] - known[1], tf.float64)

        log_weight = tf.cast(betas[1] - betas[0], tf.float64) * log_ratio(known)
        sizes = tf.TensorArray(tf.float32, num_steps, element_shape=[None])
        sizes = sizes.write(0, step_sizes[0])
        course = tf.TensorArray(tf.float64, num_steps, element_shape=[2, None])

        def state_of(log_weight, ratio):
            """Returns log ∫ f_β and the mean of `ratio` under f_β, `[2, batch]`."""
            log_mean = tf.reduce_logsumexp(log_weight, axis=0)
            share = tf.nn.softmax(log_weight, axis=0)
            mean = tf.reduce_sum(share * ratio, axis=0)
            return tf.stack([log_mean - tf.math.log(tf.cast(num_chains, tf.float64)), mean])

        def temper(t, known, log_weight, size, sizes, course):
            size = tf.where(adapt, size, step_sizes[t])
            share, *known = move(*known, betas[t], size, random.fold_in(seed, t))
            ratio = log_ratio(known)
            course = course.write(t - 1, state_of(log_weight, ratio))
            step = tf.cast(betas[t + 1] - betas[t], tf.float64)
            log_weight = log_weight + step * ratio
            sizes = sizes.write(t, size)
            size = size * tf.exp(0.5 * (share - _ACCEPTANCE))
            size = tf.clip_by_value(size, _SMALLEST_STEP, _LARGEST_STEP)
            return t + 1, tuple(known), log_weight, size, sizes, course

        _, known, log_weight, _, sizes, course = tf.while_loop(
            lambda t, *_: t < num_steps,
            temper,
            (tf.constant(1), known, log_weight, step_sizes[0], sizes, course),
            shape_invariants=(
                tf.TensorShape([]),
                tuple(value.shape for value in known),
                log_weight.shape,
                tf.TensorShape([None]),
                tf.TensorShape(None),
                tf.TensorShape(None),
            ),
        )
        course = course.write(num_steps - 1, state_of(log_weight, log_ratio(known)))
        return log_weight, sizes.stack(), course.stack()

    return run
