"""Blocks of steps: the same training, many steps in each call; what does not fit runs as before."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.datasets.batches import ordered_batches, ordered_blocks
from kvae.models.fit import fused_adam, plan

EVENT = (8, 8, 1)
N, BATCH = 60, 16  # Batches of 16, 16, 16, 12.


@pytest.fixture
def always(monkeypatch):
    """Makes no training too short for blocks."""
    monkeypatch.setattr(plan, "LEAST_STEPS", 1)


@pytest.fixture(scope="module")
def data(digits):
    return kvae.datasets.Dataset(digits[:N], binarize="dynamic", noise=0.1)


def compiled(make_vae, optimizer=None, **settings):
    parts = {key: settings.pop(key) for key in ("objective", "encoder") if key in settings}
    vae = make_vae(**parts)
    vae.compile(optimizer or keras.optimizers.SGD(1e-3), **settings)
    return vae


def train(vae, data, **options):
    return vae.fit(data, **{"batch_size": BATCH, "epochs": 2, "verbose": 0, **options}).history


def assert_close(weights, others):
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def weighted(data):
    """Examples that count differently, some of them not at all."""
    return data.weighted(np.arange(N) % 3)


@pytest.fixture(scope="module")
def one_by_one(make_vae, weighted):
    vae = compiled(make_vae, run_eagerly=True)  # Which takes no longer than to trace the steps.
    history = train(vae, weighted, validation_data=weighted[:20])
    first = vae.get_weights()
    train(vae, weighted[:44], initial_epoch=1)
    return first, history, vae.get_weights()


# XLA takes as long for the steps of a validation as for those of a training.
@pytest.mark.default("XLA")
@pytest.mark.parametrize(
    "jit, validates",
    [(True, False), (True, True), (False, True)],
    ids=["XLA", "XLA and validation", "graph and validation"],
)
def test_a_block_is_its_steps(make_vae, weighted, one_by_one, jit, validates):
    after_two, history, after_more = one_by_one
    vae = compiled(make_vae, steps_per_execution=3, jit_compile=jit)
    found = train(vae, weighted, **({"validation_data": weighted[:20]} if validates else {}))
    assert_close(vae.get_weights(), after_two)
    assert set(found) == {name for name in history if validates or not name.startswith("val_")}
    for name, values in found.items():
        np.testing.assert_allclose(values, history[name], rtol=1e-4)
    assert int(vae.optimizer.iterations) == 8
    # The next fit takes the same function, and data of another length.
    train(vae, weighted[:44], initial_epoch=1)
    assert len(vae._blocks._made) == 1  # It was blocks indeed.
    assert_close(vae.get_weights(), after_more)


def test_blocks_name_the_rows_of_the_batches():
    batches = ordered_batches(
        N, BATCH, lambda *batch: batch, seed=3, shuffle=True, first_epoch=2, repeat=True
    )
    expected = [[part.numpy() for part in batch] for batch in batches.take(8)]
    found = []
    for rows, epoch_seed, first in ordered_blocks(
        N, BATCH, 3, seed=3, shuffle=True, first_epoch=2
    ).take(4):
        for start in range(0, len(rows), BATCH):
            found.append([rows[start : start + BATCH], epoch_seed, first + start // BATCH])
    assert len(found) == 8
    for (rows, seed, step), (rows_of, seed_of, step_of) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows, rows_of)
        assert step == step_of
        np.testing.assert_array_equal(kvae.random.as_seed(seed), kvae.random.as_seed(seed_of))


def plan_of(vae, data, callbacks=(), epochs=2, steps=None):
    return plan.plan_steps(vae, data, BATCH, epochs, steps, list(callbacks))


class EveryStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)


class OwnStep(kvae.VAE):
    def train_step(self, data):
        return super().train_step(data)


class Steps:
    def optimize(self, data):
        return super().optimize(data)


class StepsOfAMixin(Steps, kvae.VAE):
    pass


class Conversion(keras.layers.Layer):
    """No convolution, whatever its name begins with."""

    def call(self, x):
        return x


def test_a_model_says_whether_it_has_a_step_of_its_own(make_vae):
    config = make_vae().get_config()
    made = [kind.from_config(config) for kind in (kvae.VAE, OwnStep, StepsOfAMixin)]
    assert [vae.own_step() for vae in made] == [None, "train_step", "optimize"]


def test_what_fits_is_chosen(make_vae, make_encoder, data, monkeypatch):
    dense = compiled(make_vae)
    assert plan_of(dense, data, epochs=249) == plan.Plan(1)  # 996 steps.
    assert plan_of(dense, data, epochs=250) == plan.Plan(4, jit=True)
    monkeypatch.setattr(plan, "LEAST_STEPS", 1)
    assert plan_of(dense, data, steps=4).steps == 4
    convolution = [keras.layers.Reshape(EVENT), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    encoder = make_encoder(width=64, extra=convolution)
    assert plan_of(compiled(make_vae, encoder=encoder), data) == plan.Plan(4, jit=False)
    assert plan_of(compiled(make_vae, encoder=make_encoder(extra=[Conversion()])), data).jit
    kept = keras.callbacks.ModelCheckpoint("weights.keras")
    assert plan_of(dense, data, [kept, keras.callbacks.History()]).steps == 4
    often = keras.callbacks.ModelCheckpoint("weights.keras", save_freq=6)
    assert plan_of(dense, data, [often, kept]) == plan.Plan(2, jit=True)
    often.save_freq = 3  # Of four steps.
    assert (
        "ModelCheckpoint acts every 3 steps, which do not" in plan_of(dense, data, [often]).reason
    )
    monkeypatch.setattr(plan, "MOST_BYTES", 256 * BATCH * 3)
    assert plan_of(dense, data).steps == 2  # Two calls of two steps rather than of 3 and 1.


@pytest.mark.parametrize(
    "why, change",
    [
        ("steps_per_epoch", lambda _: {"steps": 3}),
        ("EveryStep is called at every step", lambda _: {"callbacks": [EveryStep()]}),
        (
            "ModelCheckpoint",
            lambda _: {"callbacks": [keras.callbacks.ModelCheckpoint("a.keras", save_freq=1)]},
        ),
        ("eagerly", lambda arguments: {"vae": arguments["make"](run_eagerly=True)}),
        ("only under XLA", lambda arguments: {"vae": arguments["make"](jit_compile=False)}),
    ],
)
def test_what_does_not_fit_runs_step_by_step(make_vae, data, always, why, change):
    def make(**settings):
        return compiled(make_vae, **settings)

    changed = change({"make": make, "data": data})
    plan = plan_of(**{"vae": changed.get("vae") or make(), "data": data, **changed})
    assert plan.steps <= 1 and why in plan.reason


@pytest.mark.slow  # `test_keras_callbacks.py` and `test_hooks.py` have these reasons.
def test_a_callback_of_every_step_is_called_at_every_step(make_vae, data, always, capsys):
    vae = OwnStep.from_config(make_vae().get_config())
    vae.compile(keras.optimizers.SGD(1e-3))
    assert "OwnStep has a train_step of its own" in plan_of(vae, data).reason
    callback = EveryStep()
    train(vae, data, callbacks=[callback], verbose=1)
    assert callback.steps == [0, 1, 2, 3] * 2
    assert capsys.readouterr().out.count("one step in each call, which takes longer, because") == 1
    assert vae.steps_per_execution == 1


@pytest.mark.slow  # Three compilations.
def test_what_xla_refuses_runs_without_it(make_vae, make_encoder, digits, always):
    class Unique(keras.layers.Layer):
        def call(self, x):
            return x + 0.0 * tf.cast(tf.size(tf.unique(tf.reshape(x, [-1]))[0]), x.dtype)

    found = []
    for steps in (1, "auto"):
        keras.utils.set_random_seed(0)
        vae = compiled(make_vae, encoder=make_encoder(extra=[Unique()]), steps_per_execution=steps)
        assert steps == 1 or plan_of(vae, kvae.datasets.Dataset(digits[:40])).jit
        train(vae, kvae.datasets.Dataset(digits[:40]))
        found.append(vae.get_weights())
        assert int(vae.optimizer.iterations) == 6 and vae.steps_per_execution == 1
    assert_close(*found)


def test_what_compile_chose_is_saved_as_chosen(make_vae):
    config = compiled(make_vae).get_compile_config()
    assert config["steps_per_execution"] == config["jit_compile"] == "auto"
    config = compiled(make_vae, steps_per_execution=2, jit_compile=False).get_compile_config()
    assert config["steps_per_execution"] == 2 and config["jit_compile"] is False
    vae = make_vae()
    vae.compile_from_config(config)
    assert vae.steps_per_execution == 2 and vae.jit_chosen


@pytest.mark.parametrize(
    "settings", [{}, {"clipnorm": 0.1, "weight_decay": 0.01}, {"amsgrad": True}]
)
def test_fused_adam_is_adam(settings):
    generator = np.random.default_rng(0)
    start = generator.normal(size=(4, 3)).astype("float32")
    gradients = generator.normal(size=(3, 4, 3)).astype("float32")
    found = []
    for optimizer_of in (lambda _: None, lambda optimizer: optimizer):
        variable = keras.Variable(start)
        optimizer = keras.optimizers.Adam(0.1, **settings)
        for gradient in gradients:
            with fused_adam.adam(optimizer_of(optimizer)):
                optimizer.apply_gradients([(tf.constant(gradient), variable)])
        assert "update_step" not in vars(optimizer) and int(optimizer.iterations) == 3
        found.append([value.numpy() for value in (variable, *optimizer.variables[2:])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shapes", [((3, 4, 5), (4, 5)), ((1, 5), (4, 5))])
def test_the_bernoulli_gradient_is_that_of_autodiff(shapes):
    generator = np.random.default_rng(0)
    logits = tf.constant(generator.normal(size=shapes[0]), tf.float32)
    x = tf.constant(generator.random(shapes[1]), tf.float32)
    weights = tf.constant(generator.normal(size=(3, 4, 5))[: len(shapes[0]) or 1], tf.float32)

    def derivatives(log_prob):
        with tf.GradientTape() as outer:
            outer.watch(logits)
            with tf.GradientTape() as tape:
                tape.watch([logits, x])
                value = tf.reduce_sum(weights[: shapes[0][0]] * log_prob(logits, x))
            first = tape.gradient(value, [logits, x])
            slope = tf.reduce_sum(first[0] ** 2)
        return value, *first, outer.gradient(slope, logits)

    likelihood = kvae.likelihoods.Bernoulli()
    found = derivatives(lambda logits, x: likelihood.element_log_prob({"logits": logits}, x))
    expected = derivatives(lambda logits, x: x * logits - tf.nn.softplus(logits))
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


class HalfAdam(keras.optimizers.Adam):
    """A step of its own, which the fused one must not replace."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, 0.5 * learning_rate)


def of_everything(make_vae, convolves):
    """A model of what a training may have: frozen and normalised layers, penalties, labels."""
    keras.utils.set_random_seed(0)
    event, label = keras.Input(EVENT), keras.Input((3,))
    x = keras.layers.Conv2D(2, 3, 2)(event) if convolves else event
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(12, "relu", activity_regularizer=keras.regularizers.L2(0.01))(x)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    frozen = keras.layers.Dense(8, "relu", trainable=False)
    encoder = keras.Model([event, label], frozen(keras.layers.Concatenate()([x, label])))
    z, label = keras.Input((2,)), keras.Input((3,))
    x = keras.layers.Dense(12, "relu")(keras.layers.Concatenate()([z, label]))
    x = keras.layers.Dense(64, kernel_regularizer=keras.regularizers.L2(0.01))(x)
    decoder = keras.Model([z, label], keras.layers.Reshape(EVENT)(x))
    return make_vae(encoder=encoder, decoder=decoder, num_classes=3)


def adam_of_everything():
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
    return keras.optimizers.Adam(
        rate,
        epsilon=1e-3,  # A gradient of nothing but rounding is to stay small.
        weight_decay=0.01,
        global_clipnorm=5.0,
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=3,
        gradient_accumulation_steps=2,
    )


def plateau():
    # It never gets better than by so much: lower at each epoch, and stopped at the third.
    return [
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9),
        keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=2, start_from_epoch=0),
    ]


SETTINGS = {
    "everything": (lambda make: of_everything(make, False), adam_of_everything, None),
    "everything, convolutions": (lambda make: of_everything(make, True), adam_of_everything, None),
    "a step of its own": (lambda make: of_everything(make, True), lambda: HalfAdam(0.01), None),
    "plateau": (
        lambda make: make(),
        lambda: keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True, clipnorm=1.0),
        None,
    ),
    "float16": (lambda make: make(), lambda: keras.optimizers.Adam(0.001), "mixed_float16"),
    "bfloat16": (lambda make: make(), lambda: keras.optimizers.Nadam(0.001), "mixed_bfloat16"),
    "two optimizers": (
        lambda make: make(objective=kvae.objectives.FactorVAE(discriminator_width=8)),
        lambda: keras.optimizers.Adam(0.01),
        None,
    ),
}


@pytest.mark.slow  # Two trainings, one of them in blocks; a simpler one is above.
@pytest.mark.parametrize("name", SETTINGS)
def test_whatever_is_trained_a_block_is_its_steps(make_vae, digits, always, policy, name):
    make, optimizer, dtype = SETTINGS[name]
    if dtype is not None:
        policy(dtype)
    found = []
    for steps in (1, "auto"):
        vae = make(make_vae)
        vae.compile(
            optimizer(), steps_per_execution=steps, run_eagerly=steps == 1 and dtype is None
        )
        data = kvae.datasets.Dataset(digits[:N], np.arange(N) % 3, binarize="dynamic")
        assert steps == 1 or plan_of(vae, data).steps == 4
        callbacks = plateau() if name == "plateau" else []
        history = train(vae, data, epochs=4, callbacks=callbacks)
        assert len(history["loss"]) == (3 if name == "plateau" else 4)
        steps_made = int(vae.optimizer.iterations)
        found.append((history, vae.get_weights(), vae.optimizer.variables, steps_made))
    (history, weights, state, count), (own_history, own_weights, own_state, own_count) = found
    assert count == own_count
    # Sixteen bits have eight or eleven that count.
    tolerance = {None: 1e-4, "mixed_float16": 2e-3, "mixed_bfloat16": 1e-2}[dtype]
    assert set(history) == set(own_history)
    for key, values in history.items():
        np.testing.assert_allclose(own_history[key], values, rtol=tolerance, err_msg=key)
    for a, b in zip(own_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=10 * tolerance, atol=tolerance)
    for a, b in zip(own_state, state, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=10 * tolerance, atol=tolerance, err_msg=getattr(b, "path", "")
        )


def test_networks_that_draw_noise_run_without_xla(make_vae, make_encoder, data, always):
    dropout = make_encoder(extra=[keras.layers.Dropout(0.5)])
    vae = compiled(make_vae, encoder=dropout)
    plan = plan_of(vae, data)
    assert plan.steps == 1 and "layers of the networks draw noise" in plan.reason
    assert plan_of(compiled(make_vae, encoder=dropout, jit_compile=True), data).jit


def test_a_step_that_was_replaced_is_left_alone():
    optimizer = keras.optimizers.Adam()
    own = optimizer.update_step = lambda *_: None
    with fused_adam.adam(optimizer):
        assert optimizer.update_step is own
    assert optimizer.update_step is own
