"""Every posterior with every prior and objective: it works as a whole, or says why it cannot."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
from export import signatures
from kvae import posteriors, priors

LATENT_DIM = 4

# Where z lies, written down here a second time on purpose.
SPACE = {
    "delta": "any",
    "prior_noise": "any",
    "power_spherical": "sphere",
    "von_mises_fisher": "sphere",
    "riemannian_normal": "ball",
    "wrapped_normal": "ball",
    "gumbel_softmax": "categorical",
    "finite_scalar": "codes",
    "hierarchical_residual": "codes",
    "lookup_free": "codes",
    "sim_vq": "codes",
    "vector_quantized": "codes",
}
PRIOR_SPACE = {
    "spherical_mixture": "sphere",
    "uniform_sphere": "sphere",
    "riemannian_normal": "ball",
    "wrapped_normal": "ball",
    "uniform_categorical": "categorical",
    "uniform_codes": "codes",
    "pixel_cnn": "codes",
    "vamp": "any",  # That of the posterior.
}
OBJECTIVES = {
    "auto": kvae.objectives.ELBO,
    "monte carlo": lambda: kvae.objectives.ELBO(kl="monte_carlo", num_samples=2),
    "free bits": lambda: kvae.objectives.ELBO(free_bits=0.5, free_bits_groups=1),
    "capacity": lambda: kvae.objectives.ELBO(beta=10.0, capacity=2.0),
    "path": lambda: kvae.objectives.ELBO(gradient="path"),
    "beta_tcvae": kvae.objectives.BetaTCVAE,
    "dip_vae": kvae.objectives.DIPVAE,
    "factor_vae": lambda: kvae.objectives.FactorVAE(discriminator_width=8, discriminator_depth=1),
    "info_vae": kvae.objectives.InfoVAE,
    "wae": kvae.objectives.WAE,
    "swae": kvae.objectives.SWAE,
    "vaegan": lambda: kvae.objectives.VAEGAN(discriminator_width=8, discriminator_depth=1),
    "aae": lambda: kvae.objectives.AAE(discriminator_width=8, discriminator_depth=1),
    "rae": lambda: kvae.objectives.RAE("gradient_penalty", lambda_=1.0),
    "iwae": lambda: kvae.objectives.IWAE(3),
    "dreg": lambda: kvae.objectives.IWAE(3, gradient="doubly_reparameterized"),
}
ELBOS = ("auto", "monte carlo", "free bits", "capacity", "path")
# log q at its own draws only, or not as a function of the parameters alone: no path gradient.
CODES = {"finite_scalar", "hierarchical_residual", "lookup_free", "sim_vq", "vector_quantized"}
NO_PATH = {
    *CODES,
    "delta",
    "gumbel_softmax",
    "iaf",
    "planar",
    "real_nvp",
    "sylvester",
    "hierarchical",
}
DISCRETE = {"gumbel_softmax", *CODES}
NO_MARGINALS = {
    name for name, space in SPACE.items() if space in ("any", "sphere", "ball")
} | NO_PATH


def possible(posterior, prior):
    if prior == "vamp":  # A mixture of posteriors, of which each is asked for every z.
        return posterior not in {"delta", "prior_noise", "planar", "sylvester", *CODES}
    if prior in ("uniform_codes", "pixel_cnn"):  # They draw from the posterior's codebook.
        return posterior in CODES
    spaces = SPACE.get(posterior, "real"), PRIOR_SPACE.get(prior, "real")
    return "any" in spaces or spaces[0] == spaces[1]


PAIRS = [(q, p) for q in posteriors.REGISTER for p in priors.REGISTER]
POSSIBLE = [pair for pair in PAIRS if possible(*pair)]
IMPOSSIBLE = [pair for pair in PAIRS if not possible(*pair)]


def first_of_each():
    """Pairs in which each posterior and each prior occurs, the other one being a usual one."""
    usual = {"standard_normal", "uniform_sphere", "uniform_categorical", "uniform_codes"}
    usual.add("wrapped_normal")
    chosen = [(q, p) for q, p in POSSIBLE if p in usual and q not in ("delta", "prior_noise")]
    chosen += [("delta", "standard_normal"), ("prior_noise", "flow")]
    chosen += [("vector_quantized", "pixel_cnn")]
    seen = {p for _, p in chosen}
    usual_for = {"sphere": "power_spherical", "ball": "wrapped_normal"}
    return chosen + [
        (usual_for.get(PRIOR_SPACE.get(p), "diagonal_gaussian"), p)
        for p in priors.REGISTER
        if p not in seen
    ]


# Of these every objective's gradients, beside a usual part with which objectives go.
CHOSEN = first_of_each()

# Trained and saved: two unusual parts together, with labels and with a codebook.
# That each part is saved and comes back, `test_parts.py` says.
TRAINED = [
    ("full_covariance", "class_conditional"),
    ("vector_quantized", "uniform_codes"),
]


def ids(pairs):
    return ["-".join(pair) for pair in pairs]


every_pair = pytest.mark.parametrize("pair", POSSIBLE, ids=ids(POSSIBLE))


@pytest.fixture
def build(make_vae, part):
    def build(posterior, prior, objective="auto", **settings):
        if prior == "class_conditional":
            settings["num_classes"] = 3
        return make_vae(
            latent_dim=LATENT_DIM,
            posterior=part(posteriors, posterior),
            prior=part(priors, prior),
            objective=OBJECTIVES[objective](),
            **settings,
        )

    return build


def labels_of(vae, n):
    return None if vae.num_classes is None else np.arange(n) % vae.num_classes


def refused(objective, posterior, prior):
    """What the error says where an objective does not go with a model, else None."""
    if objective == "path" and posterior in NO_PATH:
        return "path"
    if objective == "rae":
        return None if posterior == "delta" else "codes without noise"
    if objective in (*ELBOS, "vaegan"):
        return None
    if posterior in DISCRETE:
        return "is discrete"
    if objective in ("iwae", "dreg"):
        if posterior == "delta":
            return "no density"
        return "path" if objective == "dreg" and posterior in NO_PATH else None
    if prior == "class_conditional":
        return "depends on the label"
    if objective in ("dip_vae", "factor_vae"):
        if not {SPACE.get(posterior), PRIOR_SPACE.get(prior)}.isdisjoint(
            {"sphere", "ball", "categorical"}
        ):
            return "asks for independent dimensions"
    if objective in ("info_vae", "factor_vae") and posterior == "delta":
        return "no density"
    if objective != "beta_tcvae":
        return None
    if posterior in NO_MARGINALS:
        return "does not know"
    return None if prior == "standard_normal" else "not independent"


def with_objectives():
    """Every second pair with one of the objectives by turns; all with all of them are slow."""
    names = [*OBJECTIVES]
    for index, pair in enumerate(CHOSEN[::2]):
        name = names[index % len(names)]
        yield pytest.param(pair, [name], id="-".join((*pair, name)))
    for pair in POSSIBLE:
        yield pytest.param(pair, names, id="-".join(pair), marks=pytest.mark.slow)


@pytest.mark.parametrize("pair, objectives", with_objectives())
def test_every_objective_has_finite_gradients(pair, objectives, build, digits):
    posterior, prior = pair
    vae, x = build(*pair), tf.constant(digits[:6])
    label = labels_of(vae, 6)
    for name in objectives:
        if posterior == "delta" and name in ("monte carlo", "path"):
            continue  # A point has no density to sample a KL with.
        objective = OBJECTIVES[name]()
        if reason := refused(name, posterior, prior):
            with pytest.raises(ValueError, match=reason):
                objective.attach(vae)
            continue
        objective.attach(vae)
        objective.prepare(vae)
        with tf.GradientTape() as tape:
            # Within the tape, as in a training step: the prior is that of the labels.
            model = vae if label is None else vae.conditioned_on(label)
            terms = objective.terms(model, x, x, training=True, seed=0)
            loss = tf.reduce_mean(terms["loss"])
        gradients = tape.gradient(loss, [v.value for v in vae.trainable_variables])
        assert terms["loss"].shape == (6,) and np.isfinite(terms["loss"]).all(), name
        # Of means that are looked up by class the gradient comes as slices.
        gradients = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
        found = dict(zip((v.path for v in vae.trainable_variables), gradients, strict=True))
        missing = {path for path, gradient in found.items() if gradient is None}
        assert missing == without_gradient(vae, name), name
        assert all(
            np.isfinite(gradient).all() for gradient in found.values() if gradient is not None
        )
        decoder = {variable.path for variable in vae.decoder.trainable_variables}
        assert all(np.any(found[path] != 0) for path in decoder), name


def without_gradient(vae, objective):
    """The trainable variables that the loss does not depend on, or not smoothly."""
    prior = {variable.path for variable in vae.prior.trainable_variables}
    noise = isinstance(vae.posterior, kvae.posteriors.PriorNoise)
    if objective == "aae" and not noise:  # The codes go to the prior, and not it to them.
        return prior
    # These draw from the prior, and choosing a component has no gradient.
    if objective in ("wae", "swae"):
        return {path for path in prior if path.endswith("/logits")}
    if isinstance(
        vae.posterior, kvae.posteriors.Delta
    ):  # No KL, so nothing is asked of the prior …
        return prior
    if noise:
        if objective in ("monte carlo", "path", "dip_vae", "iwae", "dreg"):
            return set()  # A KL or a covariance of 0, with gradients of 0 …
        return {path for path in prior if path.endswith("/logits")}  # … and a choice with none.
    return set()


@pytest.mark.default(*ids(TRAINED))
@every_pair
def test_trains_a_step_saves_and_comes_back(pair, build, digits, tmp_path, eagerly):
    vae = build(*pair, optimizer="adam", eager=True)
    label = labels_of(vae, 16)
    data = digits[:16] if label is None else (digits[:16], label)
    before = [w.numpy().copy() for w in vae.decoder.trainable_weights]
    history = vae.fit(data, batch_size=16, epochs=1, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert any(
        not np.array_equal(old, new)
        for old, new in zip(before, vae.decoder.trainable_weights, strict=True)
    )
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    given = {} if label is None else {"label": label[:4]}

    def read(model):
        yield model.reconstruct(digits[:4], seed=1, **given)
        yield model.sample(4, seed=1, **given)
        if model.posterior.has_density:
            yield model.log_prob(digits[:4], num_samples=5, **given).value

    for here, there in zip(read(vae), read(loaded), strict=True):
        assert np.isfinite(here).all()
        np.testing.assert_array_equal(here, there)


@pytest.mark.default(cover=1)
@pytest.mark.parametrize("posterior, prior", IMPOSSIBLE, ids=ids(IMPOSSIBLE))
def test_impossible_pairs_say_why(posterior, prior, build):
    reason = "their KL divergence is infinite. Choose .*on the same space, e.g. prior='"
    if prior == "vamp":
        reason = "posterior has none|at its own draws only|sequence of codes|made of the model"
    elif prior in ("uniform_codes", "pixel_cnn") and posterior in ("delta", "prior_noise"):
        reason = "draws from the codebook of a posterior such as VectorQuantized"
    with pytest.raises(ValueError, match=reason):
        build(posterior, prior)


@pytest.mark.slow  # tests/export has an export of each kind of latent space.
@every_pair
def test_exports(pair, build, tmp_path):
    vae = build(*pair)
    # The other signatures are pieces of these.
    wanted = {"encode", "generate", "score"} - set(signatures.left_out(vae))
    path = export.saved_model(vae, tmp_path / "model", signatures=sorted(wanted))
    report = export.verify(path, vae, batch_sizes=(3,))
    assert report.ok, str(report)
    compared = {row.signature for row in report.rows if row.max_abs_error is not None}
    assert compared == {"serving_default", *wanted}
