"""Every registered part keeps the promises of its kind, and passes Keras's own test of layers."""

import functools

import keras
import pytest
from keras.src import testing as keras_testing

import kvae
import kvae.testing
from kvae import fills, flows, likelihoods, objectives, posteriors, priors
from kvae.conditions.condition import Condition
from kvae.testing.models import tiny_vae
from kvae.testing.parts import check_arguments

# Arguments that keep these parts small; the other parts have their defaults.
SMALL = {
    "aae": {"discriminator_width": 8, "discriminator_depth": 1},
    "autoregressive": {"num_classes": 3, "width": 4, "embedding_dim": 3, "context_dim": 2},
    "categorical": {"num_classes": 3},
    "discretized_logistic": {"levels": 4},
    "discretized_logistic_mixture": {"num_components": 2, "levels": 4},
    "factor_vae": {"discriminator_width": 8, "discriminator_depth": 1},
    "finite_scalar": {"levels": (3, 3)},
    "gumbel_softmax": {"num_categories": 2},
    "hierarchical_residual": {"num_embeddings": 3, "embedding_dim": 2, "num_levels": 2},
    "lookup_free": {"bits": 2},
    "perceptual": {
        "network": keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3, activation="tanh")]
        )
    },
    "mixed_tabular": {"columns": [("gaussian",), ("bernoulli",), ("categorical", 3)]},
    "patch_adversarial": {"discriminator_width": 4, "discriminator_depth": 1},
    "pixel_cnn": {"filters": 4, "num_layers": 1},
    "sim_vq": {"num_embeddings": 5, "embedding_dim": 2},
    "uniform_categorical": {"num_categories": 2},
    "vaegan": {"discriminator_width": 8, "discriminator_depth": 1},
    "vamp": {"num_components": 3},
    "vector_quantized": {"num_embeddings": 5, "embedding_dim": 2},
}
VARIANTS = {
    (likelihoods, "gaussian"): [{"variance": "global"}, {"variance": "per_pixel"}],
    (likelihoods, "laplace"): [{"variance": "global"}, {"variance": "per_pixel"}],
    (likelihoods, "student_t"): [{"variance": "per_pixel", "df": None}],
    (posteriors, "low_rank"): [{"rank": 2}],
    (posteriors, "student_t"): [{"df": None}],
    (posteriors, "gumbel_softmax"): [{"straight_through": True}],
    (posteriors, "vector_quantized"): [
        {"ema": False},
        {"gradient": "rotation"},
        {"cosine": True},
        {"groups": 2},
        {"residual": 1},
    ],
    (priors, "gaussian_mixture"): [{"covariance": "full"}],
}
# Compiled by XLA, in the place of a check without it: draws that are made in a way of their own.
COMPILED = {(posteriors, "student_t"), (priors, "hierarchical"), (flows, "iaf")}
# Slow, as the variants are: flows are checked as flows; of the bounds that derive from IWAE, of the
# posteriors on the sphere and in the ball, of the correlated ones, of the mixtures, of the parts of
# several groups and of other families one is; the quantizers, the noise of the prior, VampPrior,
# the PixelCNN, the likelihoods of columns and of symbols, and the objectives with a classifier, a
# discriminator, features, an MMD or terms of the aggregate posterior have exact tests of their own.
SLOW = {
    *((posteriors, name) for name in ("iaf", "planar", "real_nvp", "sylvester")),
    *((posteriors, name) for name in ("laplace", "logistic", "unit_variance")),
    *((posteriors, name) for name in ("lookup_free", "sim_vq", "low_rank", "prior_noise")),
    (posteriors, "hierarchical_residual"),
    *((posteriors, name) for name in ("riemannian_normal", "power_spherical", "hierarchical")),
    *((posteriors, name) for name in ("joint_experts", "mixture_of_experts")),
    *((posteriors, name) for name in ("flow_experts", "mixture_of_products")),
    *((objectives, name) for name in ("crmvae", "jmvae", "jnf", "mvtcae", "subset_elbo", "telbo")),
    (objectives, "mhvae"),
    (objectives, "semi_supervised"),
    *((objectives, name) for name in ("ciwae", "dreg", "miwae", "piwae")),
    *((objectives, name) for name in ("factor_vae", "info_vae", "swae", "wae")),
    *((objectives, name) for name in ("beta_tcvae", "dip_vae")),
    *((objectives, name) for name in ("aae", "hamiltonian", "joint_vae", "patch_adversarial")),
    *((objectives, name) for name in ("ms_ssim", "perceptual", "riemannian_hamiltonian")),
    (objectives, "vaegan"),
    *((priors, name) for name in ("flow", "pixel_cnn", "vamp")),
    *((priors, name) for name in ("riemannian_normal", "spherical_mixture")),
    *((likelihoods, name) for name in ("log_cosh", "log_normal", "negative_binomial", "ordinal")),
    *((likelihoods, name) for name in ("mixed_tabular", "rounded_mixture")),
    *((likelihoods, name) for name in ("autoregressive", "gaussian_mixture")),
    (flows, "real_nvp"),
}
# These ask for a posterior whose latents of each modality have sizes; their own tests make one.
OF_SIZES = {"dmvae", "mmvae_plus", "nexus"}


def cases(module):
    """The names of a module's parts with the arguments of each, and whether they are slow."""
    for name in module.names():
        for settings in ({}, *VARIANTS.get((module, name), ())):
            words = "-".join([name, *(f"{key}={value}" for key, value in settings.items())])
            make = functools.partial(module.REGISTER[name], **{**SMALL.get(name, {}), **settings})
            slow = bool(settings) or (module, name) in SLOW
            yield words, make, [pytest.mark.slow] * slow, (module, name) in COMPILED and not slow


def parametrized(module):
    """Each part, with XLA where it is among `COMPILED`; all others with XLA are slow."""
    params = []
    for words, make, marks, compiled in cases(module):
        params.append(pytest.param(make, compiled, id=words, marks=marks))
        if not compiled:
            params.append(pytest.param(make, True, id=f"{words}-xla", marks=pytest.mark.slow))
    return pytest.mark.parametrize("make, xla", params)


@parametrized(posteriors)
def test_posterior(make, xla):
    kvae.testing.check_posterior(make(), xla=xla)


@parametrized(priors)
def test_prior(make, xla):
    kvae.testing.check_prior(make(), xla=xla)


@parametrized(likelihoods)
def test_likelihood(make, xla):
    kvae.testing.check_likelihood(make(), xla=xla)


@parametrized(flows)
def test_flow(make, xla):
    kvae.testing.check_flow(make(), xla=xla)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=words, marks=marks)
        for words, make, marks, _ in cases(objectives)
        if words not in OF_SIZES
    ],
)
def test_objective(make):
    objective = make()
    # Without noise, and so without a density.
    posterior = "delta" if isinstance(objective, objectives.RAE) else "diagonal_gaussian"
    kvae.testing.check_objective(objective, posterior=posterior)


@pytest.mark.parametrize(
    "module",
    [
        posteriors,
        priors,
        likelihoods,
        pytest.param(objectives, marks=pytest.mark.slow),  # The others have the same promise.
        flows,
        fills,
    ],
)
def test_what_constructors_take_is_in_the_configuration(module):
    kinds = {getattr(make, "func", make): name for name, make in module.REGISTER.items()}
    changed = {
        name: check_arguments(kind(**SMALL.get(name, {})))
        for kind, name in kinds.items()
        if isinstance(kind, type)
    }
    assert all(changed.values()) or module in (priors, likelihoods, objectives)
    assert sum(map(len, changed.values())) >= len(changed)


class Forgets(priors.StandardNormal):
    def __init__(self, latent_dim=None, width=1.0, **kwargs):
        super().__init__(latent_dim, **kwargs)


class HandsOn(posteriors.FiniteScalar):
    """It forgets what it takes for its base alone."""

    def get_config(self):
        return {key: one for key, one in super().get_config().items() if key != "gradient"}


@pytest.mark.parametrize("kind, name", [(Forgets, "width"), (HandsOn, "gradient")])
def test_an_argument_that_the_configuration_forgets_is_found(kind, name):
    with pytest.raises(AssertionError, match=f"{kind.__name__} takes `{name}`"):
        check_arguments(kind())


@pytest.mark.parametrize("name", ["commitment", "gradient", "codes_per_position"])
def test_what_a_class_sets_itself_is_refused(name):
    value = "rotation" if name == "gradient" else 1
    with pytest.raises(TypeError, match=name):
        posteriors.HierarchicalResidual(**{name: value})
    with pytest.raises(TypeError, match="num_components"):
        posteriors.MixtureOfExperts(num_components=4)


@pytest.mark.slow  # `test_fitted.py` has both.
def test_parts_without_a_name():
    prior = priors.Rescaled("standard_normal", latent_dim=2)
    kvae.testing.check_prior(prior, xla=False)
    second = tiny_vae(2, likelihood=likelihoods.Gaussian("global"), event_shape=(2,))
    second.build((None, 2))
    kvae.testing.check_prior(priors.TwoStage(second, num_samples=2), exact=False, xla=False)


# Keras's own test of layers.


def in_a_model(kind):
    """A class of priors that know a model, in which alone their density is defined."""

    @keras.saving.register_keras_serializable(package="tests", name=f"{kind.__name__}InAModel")
    class InAModel(kind):
        def __init__(self, **settings):
            super().__init__(**settings)
            parts = {}
            if issubclass(kind, priors.CodesPrior):
                quantized = posteriors.VectorQuantized(**SMALL["vector_quantized"])
                parts = {"posterior": quantized, "prior": "uniform_codes"}
            vae = tiny_vae(4, **parts)
            vae.build((None, 6))
            self._vae = lambda: vae

    return InAModel


def layers():
    """Names, classes, arguments and shapes of inputs."""
    yield "sampling", kvae.Sampling, {}, ((2, 3), (2, 3))
    for name, kind in posteriors.REGISTER.items():
        yield name, kind, {"latent_dim": 4, **SMALL.get(name, {})}, (2, 5)
    for name, kind in priors.REGISTER.items():
        if name == "class_conditional":  # Its density is one of z and a label.
            continue
        if name in ("vamp", "uniform_codes", "pixel_cnn"):
            kind = in_a_model(kind)
        yield name, kind, {"latent_dim": 4, **SMALL.get(name, {})}, (2, 4)
    for name, kind in likelihoods.REGISTER.items():
        settings = SMALL.get(name, {})
        event = (3, 1) if kind.autoregressive else (3,)
        yield name, kind, settings, (2, *kind(**settings).output_shape(event))


@pytest.mark.default(
    "sampling",
    "full_covariance",
    "vector_quantized",
    "iaf",
    "vamp",
    "mixed_tabular",
    "gaussian",
)
@pytest.mark.parametrize(
    "kind, settings, shape", [pytest.param(*case, id=name) for name, *case in layers()]
)
def test_keras_test_of_layers(kind, settings, shape):
    keras_testing.TestCase().run_layer_test(
        kind, settings, input_shape=shape, run_training_check=False, run_mixed_precision_check=True
    )


class Halfway(priors.Prior):
    def log_prob(self, z):
        return -0.5 * (z**2).sum(-1)


CHECKS = {
    kvae.testing.check_prior: (Halfway, {"transform(self, noise, temperature=1.0)"}),
    kvae.testing.check_posterior: (
        type("Empty", (posteriors.Posterior,), {}),
        {"parameter_shapes(self)", "transform(", "mean(self, params)", "log_prob(self, params, z)"},
    ),
    kvae.testing.check_likelihood: (
        type("Empty", (likelihoods.Likelihood,), {}),
        {"call(self, outputs)", "element_log_prob(", "mean(", "support(self)"},
    ),
    kvae.testing.check_objective: (
        type("Empty", (objectives.Bound,), {}),
        {"cost(self, vae, params, z, kl, *, seed)"},
    ),
    kvae.testing.check_flow: (type("Empty", (flows.Flow,), {}), {"forward(self, params, z)"}),
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_part_that_lacks_methods_is_told_what_to_write(check):
    kind, methods = CHECKS[check]
    with pytest.raises(AssertionError) as error:
        check(kind())
    told = str(error.value)
    assert told.startswith(f"{kind.__name__} lacks the method")
    assert all(f"def {method}" in told for method in methods)
    assert told.count("    def ") == len(methods)
    with pytest.raises(NotImplementedError, match=f"{kind.__name__} lacks"):
        getattr(kind(), next(iter(methods)).split("(")[0])(None, None)


def test_a_model_refuses_a_part_that_lacks_methods_when_it_is_made():
    with pytest.raises(NotImplementedError, match="Halfway lacks the method transform. Write"):
        tiny_vae(prior=Halfway())
    # One inside another part as well.
    inner = type("Turn", (flows.Flow,), {})()
    with pytest.raises(NotImplementedError, match="Turn lacks the method forward"):
        tiny_vae(posterior=posteriors.Flow(flows=[inner]))
    kind = type("Half", (Condition,), {})()
    with pytest.raises(NotImplementedError, match="Half lacks the methods checked, encode"):
        tiny_vae(conditions={"a": kind})


def test_what_a_part_may_lack():
    """A flow's density comes with its draws, a point has none, and a mode is asked for seldom."""
    for posterior in ("planar", "delta"):
        assert not posteriors.get(posterior).missing_methods()
    with pytest.raises(NotImplementedError, match="Planar lacks the method inverse"):
        flows.get("planar").inverse({}, None)


@pytest.mark.parametrize("module", [posteriors, priors, likelihoods])
def test_a_class_of_parts_is_told_how_it_becomes_a_part(module):
    kind = module.REGISTER.base
    with pytest.raises(TypeError, match=rf"make a part of it, {kind.__name__}\(\)"):
        module.get(kind)
