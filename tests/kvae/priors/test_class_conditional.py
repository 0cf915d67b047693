"""The prior of a class, by itself; tests/kvae/models/test_conditional.py has it in models."""

import keras
import numpy as np
import tensorflow as tf

from kvae import priors
from kvae.priors import ClassConditional

K, D = 3, 2


def test_learned_prior_finds_the_moments_of_each_class():
    """The best p(z|y) for given codes is their mean and variance: gradients are 0 there."""
    rng = np.random.default_rng(3)
    label = np.repeat(np.arange(K), 50)
    z = rng.normal(size=(150, D)).astype("float32") * (1 + label[:, None]) + label[:, None]
    prior = ClassConditional(K, D)
    prior.build()
    prior.means.assign([z[label == k].mean(axis=0) for k in range(K)])
    prior.raw_log_vars.assign([np.log(z[label == k].var(axis=0)) for k in range(K)])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(prior.conditioned_on(label).log_prob(z))
    for gradient in tape.gradient(value, [v.value for v in prior.trainable_variables]):
        np.testing.assert_allclose(tf.convert_to_tensor(gradient), 0.0, atol=2e-3)


def test_config_round_trip():
    copy = priors.get(keras.saving.serialize_keras_object(ClassConditional(K, D, 5.0)))
    assert (copy.num_classes, copy.latent_dim, copy.log_var_bound) == (K, D, 5.0)
    assert isinstance(priors.get("class_conditional"), ClassConditional)
