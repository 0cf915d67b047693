"""The bound with a critic of patches: its loss, and who learns what."""

import numpy as np
import pytest
import tensorflow as tf

import kvae

SMALL = {"discriminator_width": 4, "discriminator_depth": 1, "discriminator_learning_rate": 1e-2}


@pytest.fixture(scope="module")
def vae(make_vae):
    objective = kvae.objectives.PatchAdversarial(weight=0.5, beta=0.1, **SMALL)
    return make_vae(objective=objective, likelihood="gaussian", optimizer="sgd", eager=True)


def test_the_loss(vae, digits):
    x = digits[:8]
    terms = vae.objective.terms(vae, x, x, training=False, seed=4)
    z = vae.posterior.sample(vae.encode_params(x), seed=4)
    decoded = vae.likelihood.mean(vae.decode_params(z))
    logits = vae.objective.discriminator(decoded)
    assert logits.shape == (8, 4, 4)
    wrong = -np.asarray(tf.math.log_sigmoid(logits))
    np.testing.assert_allclose(terms["adversarial"], wrong.mean(axis=(1, 2)), rtol=1e-4)
    bound = terms["reconstruction"] + 0.1 * terms["kl"]
    np.testing.assert_allclose(terms["loss"], bound + 0.5 * wrong.sum(axis=(1, 2)), rtol=1e-4)


def test_a_patch_of_the_logits_sees_a_patch_of_the_image(vae, digits):
    image = digits[:1].copy()
    before = vae.objective.discriminator(image)
    image[:, 0, 0] += 1.0
    changed = np.asarray(vae.objective.discriminator(image) != before)[0]
    assert changed[0, 0] and not changed[3:].any() and not changed[:, 3:].any()


def test_the_discriminator_learns_to_tell(vae, digits):
    def apart():
        made = vae.reconstruct(digits)
        judged = vae.objective.discriminator
        return np.mean(judged(digits)) - np.mean(judged(made))

    before, kernels = apart(), [np.array(v) for v in vae.trainable_variables]
    for _ in range(3):
        vae.train_on_batch(digits)
    assert apart() > before
    assert any(np.any(a != b) for a, b in zip(kernels, vae.trainable_variables, strict=True))
