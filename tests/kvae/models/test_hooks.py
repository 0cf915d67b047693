"""Keras's own hooks in a subclass of kvae.VAE: compute_loss, train_step, add_loss and others."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.models.fit import plan

N, BATCH = 8, 4


class Penalty(kvae.VAE):
    """Pays for squared errors as well, and keeps account of them; it has a network of its own."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.penalty = keras.metrics.Mean(name="penalty")
        self.critic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        penalty = 50 * keras.ops.mean(keras.ops.square(y - y_pred))
        self.penalty.update_state(penalty)
        return super().compute_loss(x, y, y_pred, sample_weight, training) + penalty


class Squares(kvae.VAE):
    """Has another loss altogether, for each example, with the arguments of older versions."""

    def compute_loss(self, x, y, y_pred, sample_weight):
        return keras.ops.sum(keras.ops.square(y - y_pred), axis=(1, 2, 3))


class OwnTape(kvae.VAE):
    def train_step(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, sample_weight=weight)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return self.get_metrics_result()


class Figures(kvae.VAE):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        found = super().compute_metrics(x, y, y_pred, sample_weight)
        return {**found, "largest": keras.ops.max(y_pred)}


class InCall(kvae.VAE):
    def call(self, inputs, training=False):
        outputs = super().call(inputs, training=training)
        self.add_loss(7.0 + 0.0 * keras.ops.sum(outputs))
        return outputs


class InLayer(keras.layers.Layer):
    def call(self, x):
        self.add_loss(5.0 + 0.0 * keras.ops.sum(x))
        return x


def of(kind, make_vae, eager=True, **parts):
    vae = kind.from_config(make_vae(**parts).get_config())
    vae.compile(keras.optimizers.SGD(1e-3), run_eagerly=eager)
    return vae


def train(vae, x, **options):
    history = vae.fit(x, batch_size=BATCH, epochs=1, verbose=0, validation_data=x, **options)
    return {name: values[-1] for name, values in history.history.items()}


def test_compute_loss_is_what_is_minimized_and_reported(make_vae, digits):
    vae = of(Penalty, make_vae)
    found = train(vae, digits[:N])
    for prefix in ("", "val_"):
        loss, elbo, penalty = (found[prefix + name] for name in ("loss", "elbo", "penalty"))
        assert penalty > 1 and loss == pytest.approx(penalty - elbo, rel=1e-5)
    # The gradient is that of both: another model than the ELBO alone makes.
    plain = of(kvae.VAE, make_vae)
    train(plain, digits[:N])
    last = [model.decoder.get_weights()[-1] for model in (vae, plain)]
    assert np.abs(last[0] - last[1]).max() > 1e-4
    assert vae.evaluate(digits[:N], verbose=0, return_dict=True)["penalty"] > 1


def test_a_loss_of_its_own_for_each_example(make_vae, digits):
    weight = np.array([1.0, 0.0] * (N // 2), "float32")
    vae = of(Squares, make_vae)
    error = np.sum((vae.predict(digits[:N], verbose=0) - digits[:N]) ** 2, axis=(1, 2, 3))
    vae.optimizer.learning_rate = 0.0
    found = train(vae, digits[:N], sample_weight=weight)
    assert found["loss"] == pytest.approx(np.average(error, weights=weight), rel=1e-5)
    assert found["val_loss"] == pytest.approx(error.mean(), rel=1e-5)
    assert found["elbo"] < -40  # Reported as ever.


@pytest.mark.default("None")
@pytest.mark.parametrize("returned", [None, np.zeros((2, 2), "float32")])
def test_a_compute_loss_that_returns_no_loss_is_named(make_vae, digits, returned):
    vae = of(kvae.VAE, make_vae)
    vae.compute_loss = lambda *arguments, **options: returned
    with pytest.raises(ValueError, match="compute_loss of VAE returns .*one number in nats"):
        train(vae, digits[:N])


def test_a_train_step_with_a_tape_of_its_own(make_vae, digits):
    """Its noise and its step are those of the model's own, and so are its logs."""
    found = train(own := of(OwnTape, make_vae), digits[:N])
    wanted = train(plain := of(kvae.VAE, make_vae), digits[:N])
    assert found == pytest.approx(wanted, rel=1e-5)
    for a, b in zip(own.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with pytest.raises(ValueError, match="takes the batch `x`"):
        plain.compute_loss(y=digits[:4], y_pred=digits[:4])


def test_compute_metrics(make_vae, digits):
    found = train(of(Figures, make_vae), digits[:N])
    assert 0 < found["largest"] < 1 and 0 < found["val_largest"] < 1 and found["elbo"] < -40


@pytest.fixture
def with_a_loss(make_encoder):
    """An encoder with a layer that adds 5 nats to the loss."""
    with keras.saving.custom_object_scope({"InLayer": InLayer}):
        yield make_encoder(extra=[InLayer()])


def test_add_loss_in_call_and_in_a_layer(make_vae, with_a_loss, digits):
    """A layer's own count once beside those of `call`, which runs the layers once more."""
    found = train(of(InCall, make_vae, encoder=with_a_loss), digits[:N])
    for prefix in ("", "val_"):
        added = found[prefix + "loss"] + found[prefix + "elbo"]
        assert added == pytest.approx(12.0, abs=1e-3)


@pytest.mark.slow
def test_add_loss_of_a_layer_counts_in_blocks(make_vae, with_a_loss, digits, monkeypatch):
    monkeypatch.setattr(plan, "LEAST_STEPS", 1)
    vae = of(kvae.VAE, make_vae, eager=False, encoder=with_a_loss)
    found = train(vae, digits[:N])
    assert vae.own_step() is None and vae._blocks._made  # Several steps in one call.
    assert found["loss"] + found["elbo"] == pytest.approx(5.0, abs=1e-3)


@pytest.mark.default("OwnTape", "InCall")
@pytest.mark.parametrize("kind", [Penalty, OwnTape, Figures, InCall])
def test_blocks_are_left_where_a_hook_is_overridden(make_vae, digits, kind, monkeypatch):
    """XLA may not be able to compile such a method into one graph with the rest of the step."""
    monkeypatch.setattr(plan, "LEAST_STEPS", 1)
    data = kvae.datasets.Dataset(digits[:N])
    vae = of(kind, make_vae, eager=False)
    chosen = plan.plan_steps(vae, data, BATCH, 1, None, [])
    name = next(name for name in vars(kind) if name in dir(keras.Model) and "__" not in name)
    assert chosen.steps == 0 and f"{kind.__name__} has a {name} of its own" in chosen.reason
    assert plan.plan_steps(of(kvae.VAE, make_vae, eager=False), data, BATCH, 1, None, []).steps > 1


def test_a_subclass_is_saved_with_its_networks(make_vae, digits, tmp_path):
    vae = of(Penalty, make_vae)
    vae.save(tmp_path / "mine.keras")
    again = keras.saving.load_model(
        tmp_path / "mine.keras", custom_objects={"Penalty": Penalty}, compile=False
    )
    np.testing.assert_array_equal(again.critic.get_weights()[0], vae.critic.get_weights()[0])


def test_labels_reach_the_hooks(make_vae, make_encoder, digits):
    seen = []

    class Seen(kvae.VAE):
        def compute_loss(self, x, y=None, y_pred=None, sample_weight=None, training=True):
            seen.append((x[0].shape, x[1].shape, y.shape, y_pred.shape))
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    vae = of(Seen, make_vae, prior="class_conditional", num_classes=3)
    vae.train_on_batch((digits[:4], np.array([0, 1, 2, 0])))
    assert seen == [((4, 8, 8, 1), (4,), (4, 8, 8, 1), (4, 8, 8, 1))]
