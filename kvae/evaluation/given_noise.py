"""Estimates of log p(x), maps and imputation of a batch at once, with noise that the caller gives.

They are those of `kvae.evaluation.rows` for platforms that draw no random numbers: there is neither
a loop nor a random operator. With the same noise they agree up to rounding.
"""

import tensorflow as tf

from kvae import divergences
from kvae.evaluation.imputation import weighted_sums
from kvae.evaluation.marginal_likelihood.importance import log_weight_terms
from kvae.evaluation.rows import START, added_draws, code_cost, imputed, terms_of
from kvae.utils import masks

__all__ = ["imputation", "map_of_values", "terms"]


def terms(model, x, noise, label=None) -> dict[str, tf.Tensor]:
    """Estimates the ELBO, its terms and log p(x) of a batch, `[batch]` each, in nats.

    Args:
        model: `kvae.VAE`.
        x: tensor `[batch, *event]`.
        noise: dict of tensors `[num_samples, batch, size]`, the posterior's base noise by name.
            Nothing is drawn for an autoencoder.
        label: tensor `[batch]` of classes for a conditional model.

    Returns:
        dict, as of `kvae.evaluation.rows.row_terms`.
    """
    if not model.posterior.has_density:
        return {"reconstruction": code_cost(model, x, label)}
    given, prior = _given(model, label)
    params, number = given.encode_params(x), _number(noise)
    log_px, log_ratio = log_weight_terms(given, prior, x, params, number, noise)
    kl = divergences.closed_form_kl(given.posterior, given.prior)
    sums = added_draws(START, log_px, log_ratio)
    return terms_of(sums, float(number), None if kl is None else kl(params))


def map_of_values(model, x, noise, label=None) -> tf.Tensor:
    """Returns which value of an event costs how much of the reconstruction, `[batch, *event]`.

    The arguments are those of `terms`; see `kvae.evaluation.rows.row_map`.
    """
    if not model.posterior.has_density:
        return code_cost(model, x, label, elements=True)
    given = model.conditioned_on(label)
    z, _ = given.posterior.sample_and_log_prob(given.encode_params(x), _number(noise), seed=noise)
    log_px = model.likelihood.log_prob_of_values(given.decode_params(z), x)
    return -tf.reduce_sum(log_px, axis=0) / _number(noise)


def imputation(model, x, noise, label=None, guess=None) -> dict[str, tf.Tensor]:
    """Fills in what was not observed of a batch.

    Args:
        model: `kvae.VAE` with `missing`, whose posterior has a density.
        x: tensor `[batch, *event]`, with NaN where nothing was observed.
        noise, label: as for `terms`.
        guess: tensor `[batch, *event]`. What the encoder sees in the gaps. The weights are right
            for any guess, so that the result of one call is a better guess for the next: for a
            model that was trained on whole events, that is. Defaults to `None`: the model's fill.

    Returns:
        dict, as of `kvae.evaluation.rows.row_imputation`.
    """
    given, prior = _given(model, label)
    seen = x if guess is None else tf.where(masks.observed(x), x, guess)
    params, number = given.encode_params(seen), _number(noise)
    state, _, _ = weighted_sums(given, prior, x, params, number, noise)
    return imputed(given, x, state, float(number))


def _given(model, label):
    return model.conditioned_on(label), model.prior.precomputed().conditioned_on(label)


def _number(noise) -> int:
    return next(iter(noise.values())).shape[0]
