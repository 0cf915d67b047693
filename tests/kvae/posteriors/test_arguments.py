"""The posteriors beside DiagonalGaussian: impossible pairs, arguments, configurations."""

import types

import keras
import numpy as np
import pytest

from kvae import divergences, posteriors, priors
from kvae.posteriors import (
    FullCovariance,
    GaussianMixture,
    Laplace,
    Logistic,
    LowRank,
    PowerSpherical,
    PriorNoise,
    StudentT,
    UnitVariance,
)
from kvae.priors import StandardNormal, UniformSphere


def attach(posterior, prior):
    """Returns the posterior, attached to a model of which it looks at the prior only."""
    posterior.attach(types.SimpleNamespace(prior=prior))
    return posterior


@pytest.mark.parametrize(
    "posterior, prior",
    [
        (PowerSpherical(3), StandardNormal(3)),
        (PowerSpherical(3), priors.GaussianMixture(2, latent_dim=3)),
        (posteriors.DiagonalGaussian(3), UniformSphere(3)),
        (StudentT(3), UniformSphere(3)),
    ],
    ids=lambda part: type(part).__name__,
)
def test_pairs_on_different_spaces_are_refused(posterior, prior):
    message = f"{type(posterior).__name__} puts z .*{type(prior).__name__} .*infinite.*same space"
    with pytest.raises(ValueError, match=message):
        attach(posterior, prior)
    with pytest.raises(ValueError, match=message):
        divergences.closed_form_kl(posterior, prior)


def test_pairs_on_one_space_are_accepted():
    attach(PowerSpherical(3), UniformSphere(3))
    attach(posteriors.Delta(3), None)
    attach(posteriors.Delta(3), UniformSphere(3))
    attach(posteriors.DiagonalGaussian(3), priors.GaussianMixture(2, latent_dim=3))
    on_sphere = attach(PriorNoise(3), UniformSphere(3))
    params = on_sphere(np.ones((4, 5), "f"))
    z = on_sphere.sample(params, 2, seed=0)
    np.testing.assert_allclose(np.sum(np.square(z), -1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    "make_part, message",
    [
        (lambda: LowRank(2, rank=0), "`rank`.*0"),
        (lambda: StudentT(2, df=2.0), "`df` is more than 2.*2.0"),
        (lambda: GaussianMixture(2, num_components=0), "`num_components`.*0"),
        (lambda: PowerSpherical(2, max_concentration=0.0), "`max_concentration`"),
        (lambda: PowerSpherical(2, min_concentration=0.0), "`min_concentration` is more than 0"),
        (lambda: PowerSpherical(1)(np.ones((2, 3), "f")), "at least 2, not 1"),
        (lambda: PriorNoise()(np.ones((2, 3), "f")), "latent_dim"),
    ],
)
def test_refuses_what_makes_no_sense(make_part, message):
    with pytest.raises(ValueError, match=message):
        make_part()


@pytest.mark.parametrize(
    "part, attributes",
    [
        (UnitVariance(3), {}),
        (PriorNoise(3), {}),
        (FullCovariance(3, log_var_bound=7.0), {"log_var_bound": 7.0}),
        (
            LowRank(3, rank=2, log_var_bound=7.0, factor_bound=5.0),
            {"rank": 2, "log_var_bound": 7.0, "factor_bound": 5.0},
        ),
        (Laplace(3, log_scale_bound=4.0), {"log_scale_bound": 4.0}),
        (Logistic(3, log_scale_bound=4.0), {"log_scale_bound": 4.0}),
        (StudentT(3, df=None, log_scale_bound=4.0), {"df": None, "log_scale_bound": 4.0}),
        (
            GaussianMixture(3, num_components=5, log_var_bound=7.0),
            {"num_components": 5, "log_var_bound": 7.0},
        ),
        (
            PowerSpherical(3, max_concentration=50.0, min_concentration=0.5),
            {"max_concentration": 50.0, "min_concentration": 0.5},
        ),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, posteriors.Posterior) else "",
)
def test_config_round_trip(part, attributes):
    copy = posteriors.get(keras.saving.serialize_keras_object(part))
    assert type(copy) is type(part) and copy.latent_dim == 3
    assert {name: getattr(copy, name) for name in attributes} == attributes
