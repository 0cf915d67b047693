"""Every likelihood in a model: training, saving, configuration, extreme outputs."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae import likelihoods
from kvae.likelihoods import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    GaussianMixture,
    Laplace,
    LogNormal,
    MixedTabular,
    NegativeBinomial,
    Ordinal,
    Poisson,
    RoundedMixture,
    StudentT,
)

RNG = np.random.default_rng(0)
TABLE = [("gaussian",), ("bernoulli",), ("categorical", 5), ("poisson",)]


def _images():
    return RNG.integers(256, size=(8, 4, 4, 1)) / 255


def _grey():
    return RNG.integers(16, size=(8, 4, 4, 1)) / 15


def _table():
    columns = (RNG.normal(size=8), RNG.integers(2, size=8), RNG.integers(5, size=8))
    return np.stack([*columns, RNG.poisson(2, size=8)], axis=1)


# name: (how to make it, data in its support, complete configuration)
CASES = {
    "continuous_bernoulli": (ContinuousBernoulli, _images, {}),
    "laplace": (Laplace, _images, {"variance": "fixed", "scale": 1.0}),
    "laplace_global": (
        lambda: Laplace("global", scale=0.2, log_scale_bound=4.0),
        _images,
        {"variance": "global", "scale": 0.2, "log_scale_bound": 4.0},
    ),
    "laplace_per_pixel": (
        lambda: Laplace("per_pixel"),
        _images,
        {"variance": "per_pixel"},
    ),
    "student_t": (
        lambda: StudentT("per_pixel", df=None),
        _images,
        {"variance": "per_pixel", "df": None},
    ),
    "categorical": (
        lambda: Categorical(6),
        lambda: RNG.integers(6, size=(8, 4, 4, 1)),
        {"num_classes": 6},
    ),
    "discretized_logistic": (
        lambda: DiscretizedLogistic(log_scale_bound=5.0),
        _images,
        {"levels": 256, "log_scale_bound": 5.0},
    ),
    # Its mode goes through all levels: a few.
    "discretized_logistic_mixture": (
        lambda: DiscretizedLogisticMixture(2, levels=16),
        _grey,
        {"levels": 16, "num_components": 2, "log_scale_bound": 7.0},
    ),
    "poisson": (
        lambda: Poisson(8.0),
        lambda: RNG.poisson(3, size=(8, 6)),
        {"log_rate_bound": 8.0},
    ),
    "negative_binomial": (
        lambda: NegativeBinomial(8.0),
        lambda: RNG.poisson(3, size=(8, 6)),
        {"log_rate_bound": 8.0},
    ),
    "log_normal": (
        lambda: LogNormal(9.0),
        lambda: np.exp(RNG.normal(size=(8, 6))),
        {"log_var_bound": 9.0},
    ),
    "ordinal": (
        lambda: Ordinal(4, 3.0),
        lambda: RNG.integers(4, size=(8, 6)),
        {"num_classes": 4, "log_scale_bound": 3.0},
    ),
    "gaussian_mixture": (
        lambda: GaussianMixture(2, 9.0),
        lambda: RNG.normal(size=(8, 6)),
        {"num_components": 2, "log_var_bound": 9.0},
    ),
    "rounded_mixture": (
        lambda: RoundedMixture(2, (0.0,), 9.0),
        lambda: RNG.integers(-9, 9, size=(8, 6)),
        {"num_components": 2, "atoms": (0.0,), "log_scale_bound": 9.0},
    ),
    "mixed_tabular": (
        lambda: MixedTabular(TABLE),
        _table,
        {"columns": [("gaussian",), ("bernoulli",), ("categorical", 5), ("poisson",)]},
    ),
}


@pytest.mark.default("mixed_tabular")
@pytest.mark.parametrize("case", CASES)
def test_trains_saves_and_loads(case, make_vae, tmp_path, eagerly):
    make, data, _ = CASES[case]
    x = data().astype("float32")
    vae = make_vae(event=x.shape[1:], likelihood=make(), optimizer="adam", eager=True)
    before = [v.numpy() for v in vae.trainable_variables]
    history = vae.fit(x, batch_size=4, epochs=1, verbose=0).history
    assert np.isfinite([values[0] for values in history.values()]).all()
    moved = [not np.array_equal(a, b) for a, b in zip(before, vae.trainable_variables, strict=True)]
    assert all(moved), [
        v.path for v, m in zip(vae.trainable_variables, moved, strict=True) if not m
    ]

    vae.save(tmp_path / "m.keras")
    copy = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(copy.log_prob(x, 3).value, vae.log_prob(x, 3).value)
    for output in ("mean", "mode", "sample"):
        drawn = vae.sample(5, seed=1, output=output)
        assert drawn.shape == (5, *x.shape[1:])
        np.testing.assert_array_equal(copy.sample(5, seed=1, output=output), drawn)
        if output != "mean":
            vae.likelihood.check(drawn.numpy())


@pytest.mark.default("categorical")
@pytest.mark.parametrize("case", CASES)
def test_works_in_a_graph_and_as_a_functional_model(case, make_vae):
    make, data, _ = CASES[case]
    x = data().astype("float32")
    vae = make_vae(event=x.shape[1:], likelihood=make())
    z = RNG.normal(size=(8, 2)).astype("float32")
    eager = vae.decode_params(z)
    for name, value in vae.decoder_model()(z).items():
        np.testing.assert_allclose(value, eager[name], rtol=1e-6, atol=1e-6)

    @tf.function(
        input_signature=[tf.TensorSpec((None, 2)), tf.TensorSpec((None, *x.shape[1:]))],
        autograph=False,
    )
    def graph(z, x):
        params, likelihood = vae.decode_params(z), vae.likelihood
        draw = likelihood.sample(params, 3)
        return likelihood.log_prob(params, x), likelihood.mean(params), draw

    log_prob, mean, draw = graph(z, x)
    np.testing.assert_allclose(log_prob, vae.likelihood.log_prob(eager, x), rtol=1e-5)
    np.testing.assert_allclose(mean, vae.decode(z), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(draw, vae.likelihood.sample(eager, 3), rtol=1e-5, atol=1e-6)
    # Importance samples: parameters with a leading axis against x without it.
    params = vae.decode_params(np.stack([z, -z]))
    each = vae.likelihood.log_prob(params, x)
    np.testing.assert_allclose(each[0], log_prob, rtol=1e-5)
    np.testing.assert_allclose(
        each[1], vae.likelihood.log_prob(vae.decode_params(-z), x), rtol=1e-5
    )


@pytest.mark.parametrize("case", CASES)
def test_config_round_trip(case):
    make, _, attributes = CASES[case]
    part = make()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(part)))
    copy = likelihoods.get(config)
    assert type(copy) is type(part)
    assert copy.get_config() == part.get_config()
    for name, value in attributes.items():
        assert copy.get_config()[name] == part.get_config()[name]
        got = copy.get_config()[name] if name == "log_scale_bound" else getattr(copy, name)
        assert got == value
    assert config["registered_name"] == f"kvae.likelihoods>{type(part).__name__}"


def test_names():
    for name, expected in {
        "continuous_bernoulli": ContinuousBernoulli,
        "laplace": Laplace,
        "student_t": StudentT,
        "categorical": Categorical,
        "discretized_logistic": DiscretizedLogistic,
        "discretized_logistic_mixture": DiscretizedLogisticMixture,
        "poisson": Poisson,
    }.items():
        assert type(likelihoods.get(name)) is expected
    with pytest.raises(ValueError, match="`columns` is a list with a description of each column"):
        likelihoods.get("mixed_tabular")
