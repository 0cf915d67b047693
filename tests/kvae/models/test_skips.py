"""Steps whose gradient explodes are left out."""

import keras
import numpy as np
import pytest

import kvae
from kvae.models.fit.skips import Skips

LIMIT = 1e4


def test_a_step_that_explodes_changes_nothing_and_is_told(make_vae):
    x = np.random.default_rng(0).random((4, 2, 2, 1)).astype("float32")
    vae = make_vae((2, 2, 1), likelihood=kvae.likelihoods.Gaussian(scale=1.0))
    vae.compile("adam", run_eagerly=True, skip_norm=LIMIT)

    def state():
        return [np.array(value) for value in (*vae.trainable_variables, *vae.optimizer.variables)]

    before = state()
    assert vae.fit(x, batch_size=4, verbose=0).history["skipped"] == [0.0]
    after = state()
    assert not np.array_equal(before[0], after[0])
    with pytest.warns(UserWarning, match="In epoch 1 1 steps were skipped.*skip_norm=10000"):
        assert vae.fit(1e8 * x, batch_size=4, verbose=0).history["skipped"] == [1.0]
    for old, new in zip(after, state(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert vae.get_compile_config()["skip_norm"] == LIMIT


def test_a_step_that_is_not_finite_leaves_statistics_and_critics_as_they_were():
    x = np.random.default_rng(0).random((4, 2, 2, 1)).astype("float32")
    encoder = [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.BatchNormalization()]
    decoder = [keras.Input((4,)), keras.layers.Reshape((2, 2, 1)), keras.layers.Conv2D(1, 1)]
    vae = kvae.VAE(
        keras.Sequential(encoder),
        keras.Sequential(decoder),
        latent_dim=4,
        likelihood=kvae.likelihoods.Gaussian(scale=1.0),
        objective=kvae.objectives.PatchAdversarial(discriminator_width=2, discriminator_depth=1),
    )
    vae.compile("adam", run_eagerly=True, skip_norm=LIMIT)
    vae.train_on_batch(x)

    def state():
        own = vae.objective.optimizer_variables()
        return [np.array(value) for value in (*vae.weights, *vae.optimizer.variables, *own)]

    before = state()
    with pytest.warns(UserWarning, match="1 steps were skipped"):
        history = vae.fit(1e30 * x, batch_size=4, verbose=0).history  # Does not raise.
    assert history["skipped"] == [1.0] and not np.isfinite(history["loss"][0])
    for old, new in zip(before, state(), strict=True):
        np.testing.assert_array_equal(old, new)
    vae.train_on_batch(x)
    assert any(not np.array_equal(old, new) for old, new in zip(before, state(), strict=True))


@pytest.mark.slow  # A compilation by XLA, and one of blocks.
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 2}])
def test_steps_in_blocks_are_left_out_as_well(make_vae, options):
    x = np.random.default_rng(0).random((12, 8, 8, 1)).astype("float32")
    x[4:8] *= 1e8
    model = make_vae(likelihood=kvae.likelihoods.Gaussian(scale=1.0))
    model.compile(keras.optimizers.Adam(0.01), skip_norm=LIMIT, **options)
    with pytest.warns(UserWarning, match="1 steps were skipped"):
        model.fit(x, batch_size=4, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 2


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_no_step_keeps_is_refused(limit):
    with pytest.raises(ValueError, match="`skip_norm` is"):
        Skips(limit)
