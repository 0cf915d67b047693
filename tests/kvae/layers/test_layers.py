"""Keras's own test of layers, for Sampling and for every posterior, prior and likelihood."""

import pytest
from keras.src import testing

import kvae
from kvae import likelihoods, posteriors, priors

BATCH = 2
POSTERIORS = {
    "gumbel_softmax": {"num_categories": 3, "latent_dim": 6},
    "vector_quantized": {"num_embeddings": 5, "embedding_dim": 2},
}
PRIORS = {
    "gaussian_mixture": {"num_components": 3},
    "spherical_mixture": {"num_components": 3},
    "uniform_categorical": {"num_categories": 2},
}
LIKELIHOODS = {
    "mixed_tabular": {"columns": [("gaussian",), ("bernoulli",)]},
    "discretized_logistic": {"levels": 4},
    "discretized_logistic_mixture": {"num_components": 2, "levels": 4},
    "categorical": {"num_classes": 3},
}
# These densities take a label, a model or another part, and not z alone.
WITH_A_MODEL = {"class_conditional", "vamp", "hierarchical", "uniform_codes", "pixel_cnn"}


def cases():
    yield "sampling", kvae.Sampling, {}, ((BATCH, 3), (BATCH, 3))
    for name, kind in posteriors.REGISTER.items():
        if name not in ("prior_noise",):
            yield name, kind, {"latent_dim": 4, **POSTERIORS.get(name, {})}, (BATCH, 5)
    for name, kind in priors.REGISTER.items():
        if name not in WITH_A_MODEL:
            yield name, kind, {"latent_dim": 4, **PRIORS.get(name, {})}, (BATCH, 4)
    for name, kind in likelihoods.REGISTER.items():
        settings = LIKELIHOODS.get(name, {})
        outputs = kind(**settings).output_shape((2,))
        yield name, kind, settings, (BATCH, *outputs)


CASES = list(cases())


@pytest.mark.parametrize(
    "kind, settings, shape",
    [pytest.param(*case, id=name) for name, *case in CASES],
)
def test_keras_test_of_layers(kind, settings, shape):
    testing.TestCase().run_layer_test(
        kind, settings, input_shape=shape, run_training_check=False, run_mixed_precision_check=True
    )
