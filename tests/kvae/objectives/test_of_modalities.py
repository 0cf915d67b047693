"""Objectives of several modalities, on a tiny model with closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from kvae import divergences, objectives, posteriors, priors
from kvae.testing.models import tiny_modalities

RNG = np.random.default_rng(0)
DATA = {"pixels": RNG.integers(0, 2, (4, 4)).astype("float32"), "kind": np.array([0, 2, 1, 0])}


def make(posterior="product_of_experts", **settings):
    vae = tiny_modalities(posterior=posterior, **settings)
    vae.build((None, *vae.event_shape))
    return vae


def gaussian_kl(mean, log_var, other_mean, other_log_var):
    mean, log_var, other_mean, other_log_var = map(
        np.asarray, (mean, log_var, other_mean, other_log_var)
    )
    variance, other = np.exp(log_var), np.exp(other_log_var)
    each = np.log(other / variance) + (variance + (mean - other_mean) ** 2) / other - 1
    return 0.5 * each.sum(axis=-1)


def test_jmvae_pays_for_the_way_from_the_joint_posterior_to_the_single_ones():
    vae = make("joint_experts", objective=objectives.JMVAE(alpha=0.3))
    record = tf.constant(vae.likelihood.record(DATA))
    terms = vae.objective.terms(vae, record, record, training=False, seed=1)
    found = {
        "both": vae.encode(DATA),
        **{key: vae.encode({key: value}) for key, value in DATA.items()},
    }
    means = {key: (value["z_mean"], value["z_log_var"]) for key, value in found.items()}
    for number, key in enumerate(DATA):  # A single modality is its expert, the joint one its own.
        np.testing.assert_allclose(means[key][0], found[key]["expert_means"][:, number], rtol=1e-5)
    np.testing.assert_allclose(means["both"][0], found["both"]["expert_means"][:, 2], rtol=1e-6)
    extra = sum(gaussian_kl(*means["both"], *means[key]) for key in DATA)
    np.testing.assert_allclose(terms["loss"], -terms["elbo"] + 0.3 * extra, rtol=1e-4)


def test_mvtcae_weighs_its_terms_as_the_paper_does():
    objective = objectives.MVTCAE(alpha=0.4, beta=2.0)
    vae = make(posteriors.ProductOfExperts(prior_expert=False), objective=objective)
    record = tf.constant(vae.likelihood.record(DATA))
    present = np.array([[True, True]] * 3 + [[False, True]])
    record = vae.likelihood.kept(record, present)
    terms = objective.terms(vae, record, record, training=False, seed=1)
    params = vae.encode_params(record)
    joint, count = (params["z_mean"], params["z_log_var"]), present.sum(axis=1)
    kls = [
        present[:, m] * gaussian_kl(*joint, *vae.posterior.expert(params, m).values())
        for m in range(2)
    ]
    truth = (count - 0.4) / count * terms["reconstruction"] + 2.0 * (
        0.6 * terms["kl"] + 0.4 / count * sum(kls)
    )
    np.testing.assert_allclose(terms["loss"], truth, rtol=1e-5)
    # Bits left free are those of the KL to the prior, which α = 1 leaves out.
    free = objectives.MVTCAE(alpha=1.0, free_bits=5.0)
    terms = free.terms(vae, record, record, training=False, seed=1)
    truth = ((count - 1) * terms["reconstruction"] + sum(kls)) / count
    np.testing.assert_allclose(terms["loss"], truth, rtol=1e-5)
    with pytest.raises(ValueError, match="MVTCAE takes closed forms of Gaussians"):
        make("mixture_of_experts", objective="mvtcae")


def test_telbo_fits_single_encoders_to_decoders_that_it_leaves_alone():
    objective = objectives.TELBO(single_weights={"kind": 3.0}, num_samples=300)
    vae = make("joint_experts", objective=objective)
    record = tf.constant(vae.likelihood.record(DATA))
    kl_of = divergences.closed_form_kl(vae.posterior, priors.StandardNormal(2))

    def singles():
        with tf.GradientTape(persistent=True) as tape:
            terms = objective.terms(vae, record, record, training=False, seed=1)
            extra = terms["loss"] + terms["elbo"]  # What comes beside the joint bound.
            total = tf.reduce_sum(extra)
        single = [e.trainable_variables for e in vae.posterior.experts]
        parts = [vae.decoder.trainable_variables, single[2], [*single[0], *single[1]]]
        return extra, *(tape.gradient(total, [v.value for v in part]) for part in parts)

    extra, decoder, joint, own = singles()
    # The joint bound goes in and out of the sum, which leaves rounding.
    np.testing.assert_allclose([np.abs(each).max() for each in [*decoder, *joint]], 0, atol=1e-3)
    truth = 0.0
    for number, weight in enumerate((1.0, 3.0)):
        params = vae.encode({key: DATA[key] for key in [list(DATA)[number]]})
        z = vae.posterior.sample(params, 3000, seed=5)
        each = vae.likelihood.log_prob_by_modality(vae.decode_params(z), record)
        truth += kl_of(params) - weight * np.mean(each, axis=0)[:, number]
    np.testing.assert_allclose(extra, truth, atol=0.3)
    objective.frozen = False
    _, decoder, _, free = singles()
    assert all(np.abs(each).max() > 0.1 for each in decoder)
    for here, there in zip(own, free, strict=True):  # z has the gradient that it has without.
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-3)


def test_crmvae_reconstructs_from_all_and_from_each_alone():
    objective = objectives.CRMVAE({"kind": 3.0}, beta=2.0, num_samples=300)
    vae = make(posteriors.ProductOfExperts(prior_expert=False), objective=objective)
    present = np.array([[True, True]] * 3 + [[False, True]])
    record = vae.likelihood.kept(tf.constant(vae.likelihood.record(DATA)), present)
    terms = objective.terms(vae, record, record, training=False, seed=1)
    both = vae.encode_params(record)

    def log_p(params):
        z = vae.posterior.sample(params, 3000, seed=5)
        each = vae.likelihood.log_prob_by_modality(vae.decode_params(z), record)
        return np.mean(each, axis=0) * np.float32([1, 3])

    q, kl = (both["z_mean"], both["z_log_var"]), terms["kl"].numpy()
    log_ps = log_p(both).sum(axis=1)
    for m in range(2):
        single = vae.posterior.expert(both, m)
        kl = kl + present[:, m] * gaussian_kl(*q, *single.values())
        log_ps += present[:, m] * log_p(single)[:, m]
    truth = (2.0 * kl - 0.5 * log_ps) / (present.sum(axis=1) + 1)
    np.testing.assert_allclose(terms["loss"], truth, atol=0.15)


def test_jnf_fits_single_posteriors_to_draws_from_the_joint_one():
    objective = objectives.JNF(num_samples=4000)
    vae = make("joint_experts", objective=objective)
    record = vae.likelihood.record(DATA)
    record[3, :4] = np.nan  # An example without pixels.
    record = tf.constant(record)
    with tf.GradientTape(persistent=True) as tape:
        terms = objective.terms(vae, record, record, training=False, seed=1)
        extra = terms["loss"] + terms["elbo"]
        total = tf.reduce_sum(extra)
    params = vae.encode_params(record)
    q, *singles = (vae.posterior.expert(params, number).values() for number in (-1, 0, 1))
    truth = sum(gaussian_kl(*q, *single) for single in singles)
    np.testing.assert_allclose(extra, np.where([1, 1, 1, 0], truth, 0), rtol=0.05, atol=0.02)
    single = [[v.value for v in e.trainable_variables] for e in vae.posterior.experts]
    assert all(tf.reduce_any(g != 0) for part in single[:2] for g in tape.gradient(total, part))
    for g in tape.gradient(total, single[2], unconnected_gradients="zero"):
        np.testing.assert_allclose(g, 0, atol=1e-3)
    with pytest.raises(ValueError, match="JNF trains the posterior of all modalities apart"):
        make(objective="jnf")
