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
