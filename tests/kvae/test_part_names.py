"""Names of parts with arguments: `"NAME:WORD"`, `"NAME:VALUE"`, `"NAME:KEY=VALUE"`."""

import pytest

from kvae import likelihoods, objectives, posteriors, priors


@pytest.mark.parametrize(
    ("module", "text", "settings"),
    [
        (likelihoods, "gaussian", {"variance": "fixed", "scale": 1.0}),
        (likelihoods, "gaussian:learned", {"variance": "optimal", "standardize": True}),
        (likelihoods, "laplace:learned", {"variance": "global", "standardize": True}),
        (likelihoods, "gaussian:per_pixel,scale=0.1", {"variance": "per_pixel", "scale": 0.1}),
        # A keyword of Python.
        (likelihoods, "gaussian:variance=global, scale=0.1", {"variance": "global", "scale": 0.1}),
        (likelihoods, "discretized_logistic:16", {"levels": 16}),
        (priors, "vamp:50", {"num_components": 50}),
        (objectives, "iwae:num_samples=5", {"num_samples": 5}),
        (posteriors, "hierarchical:hidden=(8,9),activation=gated", {"hidden": (8, 9)}),
        # Settings that a constructor hands on, to its base and to that of its base.
        (objectives, "elbo:free_bits=0.1", {"free_bits": 0.1, "beta": 1.0}),
        (objectives, "wae:lambda_=2.0,kernel=rbf", {"lambda_": 2.0, "kernel": "rbf"}),
        (objectives, "ciwae:beta=2.0", {"beta": 2.0, "elbo_weight": 0.5}),
    ],
)
def test_a_name_with_arguments(module, text, settings):
    config = module.get(text).get_config()
    assert {key: config[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        (likelihoods, "gausian:learned", "Did you mean 'gaussian'"),
        (likelihoods, "gaussian:lerned", "Did you mean 'learned'.*optimal, per_pixel"),
        (likelihoods, "gaussian:variance=lerned", "Unknown variance"),
        (likelihoods, "gaussian:sigma=1", "Known: log_var_bound, momentum, scale"),
        (likelihoods, "gaussian:scale=wide", "a value of another kind"),
        (likelihoods, "gaussian:", "NAME:WORD or NAME:KEY=VALUE"),
        (likelihoods, "gaussian:scale=f(1)", "NAME:WORD or NAME:KEY=VALUE"),
        (likelihoods, "gaussian:)+(1", "NAME:WORD or NAME:KEY=VALUE"),
        (likelihoods, "bernoulli:0.5", "takes no arguments, not '0.5'"),
        (priors, "vamp:1,2,3,4,5,6", "takes 4 arguments at most"),
        (priors, "standard_normal:latent_dim=3", "Unknown argument of the prior"),
        (objectives, "elbo:fre_bits=1", "Did you mean 'free_bits'.*Known: beta, capacity, free"),
        (objectives, "elbo:1,1,1,1,1", "takes 4 arguments at most"),
        (objectives, "elbo:beta=2,beta=3", "gives 'beta' twice"),
        (priors, "vamp:50,num_components=60", "gives 'num_components' twice"),
        (objectives, "elbo:name=mine", "Unknown argument of the objective elbo"),
        # Settings of a base that the class sets itself, or does not keep.
        (likelihoods, "gaussian:bound=3", "Unknown argument of the likelihood gaussian 'bound'"),
        (
            posteriors,
            "finite_scalar:num_embeddings=3",
            "Known: commitment, decay, gradient",
        ),
        (posteriors, "hierarchical_residual:commitment=0.5", "Known: decay, embedding_dim"),
        (likelihoods, "mixed_tabular:scale=1", "a list with a description of each column"),
    ],
)
def test_what_is_not_understood_says_what_is(module, text, message):
    with pytest.raises(ValueError, match=message):
        module.get(text)


@pytest.mark.parametrize("module", [likelihoods, objectives, posteriors, priors])
def test_every_word_of_a_part_makes_it(module):
    for name, make in module.REGISTER.items():
        for word, settings in getattr(make, "words", {}).items():
            config = module.get(f"{name}:{word}").get_config()
            assert {key: config[key] for key in settings} == settings


@pytest.mark.parametrize("module", [likelihoods, objectives, posteriors, priors])
def test_what_a_configuration_has_can_be_named(module):
    """All settings of a part that are numbers and words, but for those that its name stands for."""
    for name, make in module.REGISTER.items():
        if name == "mixed_tabular":  # It has no columns of its own.
            continue
        config = make().get_config()
        chosen = getattr(make, "keywords", {})
        own = {"name", "dtype", "trainable", "latent_dim", *chosen}
        settings = {
            key: value
            for key, value in config.items()
            if key not in own and isinstance(value, (int, float, str, type(None)))
        }
        if settings:
            text = ",".join(f"{key}={value}" for key, value in settings.items())
            found = module.get(f"{name}:{text}").get_config()
            assert {key: found[key] for key in settings} == settings, name
