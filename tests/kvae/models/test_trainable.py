"""Frozen weights stay as they are, unfrozen ones train, and the optimizer follows."""

import keras
import numpy as np
import pytest

import kvae
from kvae.utils import keras_internals

PARTS = ("encoder", "decoder", "posterior", "prior", "likelihood")
OBJECTIVES = {
    "elbo": {},
    "factor_vae": {
        "objective": kvae.objectives.FactorVAE(discriminator_width=4, discriminator_depth=1)
    },
}


@pytest.fixture(scope="module")
def x(digits):
    return digits[:8]


@pytest.fixture(scope="module")
def make(make_vae):
    def make(optimizer="adam", eager=True, **parts):
        parts = {"likelihood": kvae.likelihoods.Gaussian("global"), **parts}
        return make_vae(
            prior=kvae.priors.GaussianMixture(3), optimizer=optimizer, eager=eager, **parts
        )

    return make


def values(vae) -> dict:
    return {name: [w.numpy() for w in getattr(vae, name).weights] for name in PARTS}


def moved(vae, before) -> set:
    """The names of the parts that are not what they were."""
    return {
        name
        for name, weights in values(vae).items()
        if any(not np.array_equal(a, b) for a, b in zip(weights, before[name], strict=True))
    }


def trained(vae, x) -> set:
    before = values(vae)
    vae.fit(x, batch_size=4, verbose=0)
    return moved(vae, before)


def stepped(vae, x) -> set:
    """As `trained`, by one step: what `fit` does after it has begun."""
    before = values(vae)
    vae.train_on_batch(x)
    return moved(vae, before)


@pytest.mark.default("elbo")
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nothing_to_train_is_an_error_that_says_so(make, x, objective):
    vae = make(**OBJECTIVES[objective])
    vae.trainable = False
    vae.compile("adam", run_eagerly=True)
    for train in (vae.fit, vae.train_on_batch):
        with pytest.raises(ValueError, match="Every weight of vae.* is frozen.*unfreeze"):
            train(x)
    vae.evaluate(x, verbose=0)  # Nothing has to train for that.
    vae.trainable = True
    assert stepped(vae, x) == set(PARTS)


@pytest.mark.default("True")
@pytest.mark.parametrize("compiled_frozen", [True, False])
def test_what_is_frozen_and_unfrozen_after_compile(make, x, compiled_frozen):
    vae = make()
    if compiled_frozen:
        vae.encoder.trainable = False
        vae.compile("adam", run_eagerly=True)
        vae.encoder.trainable = True
        assert trained(vae, x) == set(PARTS)
    # After steps were taken, too.
    vae.encoder.trainable = False
    assert trained(vae, x) == set(PARTS) - {"encoder"}
    vae.encoder.trainable = True
    assert trained(vae, x) == set(PARTS)
    before = values(vae)
    vae.decoder.trainable = False
    vae.train_on_batch(x)
    assert moved(vae, before) == set(PARTS) - {"decoder"}


@pytest.mark.default("2")
@pytest.mark.parametrize("steps", [1, 2])
def test_graphs_that_were_traced_follow(make_vae, x, steps):
    vae = make_vae(prior=kvae.priors.GaussianMixture(3))
    vae.compile("sgd", steps_per_execution=steps, jit_compile=False)
    assert trained(vae, x) == {"encoder", "decoder", "posterior", "prior"}
    vae.freeze("encoder")
    assert trained(vae, x) == {"decoder", "prior"}
    assert (len(vae._blocks._made) == 1) is (steps > 1)


@pytest.mark.parametrize(
    "frozen, train",
    [
        (("encoder",), {"decoder", "likelihood", "prior"}),
        (("decoder",), {"encoder", "posterior", "prior"}),
        (("prior", "likelihood"), {"encoder", "posterior", "decoder"}),
    ],
)
def test_freeze_means_all_of_a_side(make, x, frozen, train):
    vae = make()
    vae.freeze(*frozen)
    assert stepped(vae, x) == train
    vae.unfreeze(*frozen)
    assert stepped(vae, x) == set(PARTS)


def test_freeze_of_what_is_not_there(make_vae):
    vae = make_vae(posterior="delta", prior=None)
    vae.freeze("prior")
    with pytest.raises(ValueError, match="Name the parts"):
        vae.freeze()
    with pytest.raises(ValueError, match="'head'.*encoder"):
        vae.freeze("encoder", "head")
    assert vae.encoder.trainable  # All or nothing.


def test_a_saved_model_keeps_what_trains_and_its_optimizer(make, x, tmp_path):
    vae = make()
    vae.fit(x, verbose=0)
    vae.freeze("encoder")
    vae.fit(x, verbose=0)
    vae.save(tmp_path / "m.keras")
    loaded = kvae.load_model(tmp_path / "m.keras")
    assert int(loaded.optimizer.iterations) == 2
    assert stepped(loaded, x) == stepped(vae, x) == {"decoder", "likelihood", "prior"}
    loaded.unfreeze("encoder")
    vae.unfreeze("encoder")
    assert stepped(loaded, x) == stepped(vae, x) == set(PARTS)
    for a, b in zip(loaded.optimizer.variables, vae.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.1),
    "adam_average": lambda: keras.optimizers.Adam(0.1, use_ema=True),
    "accumulate": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "nadam": lambda: keras.optimizers.Nadam(0.1),
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    "schedule": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_keeps_what_it_knows(name):
    """The optimizer continues with the one variable that it knew, and starts with the other."""
    gradients = np.random.default_rng(0).normal(size=(6, 2, 3)).astype("float32")

    def make():
        return [keras.Variable(np.full(3, value, "float32")) for value in (1.0, 2.0)]

    (old, new), (reference, _), (fresh, _) = make(), make(), make()
    ours, theirs = OPTIMIZERS[name](), OPTIMIZERS[name]()
    for first, _ in gradients[:2]:
        ours.apply([first], [old])
    keras_internals.build_optimizer_for(ours, [new, old])
    for first, second in gradients[2:4]:
        ours.apply([second, first], [new, old])
    keras_internals.build_optimizer_for(ours, [old])
    assert len(ours.variables) == len(theirs.variables) + _slots(ours, theirs)
    for first, _ in gradients[4:]:
        ours.apply([first], [old])
    for first, _ in gradients:
        theirs.apply([first], [reference])
    np.testing.assert_array_equal(old, reference)
    assert int(ours.iterations) == int(theirs.iterations) > 0
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(new, np.full(3, 2.0))
    if name == "adam_average":
        keras_internals.build_optimizer_for(ours, [old, fresh])
        average = next(v for v in ours.variables[::-1] if v.path.endswith("average"))
        np.testing.assert_array_equal(average, fresh)  # Not from zero.


def _slots(ours, theirs) -> int:
    theirs = type(ours).from_config(ours.get_config())
    before = len(theirs.variables)
    theirs.build([keras.Variable(np.zeros(3, "float32"))])
    return len(theirs.variables) - before
