"""The checks of every objective."""

import numpy as np
import tensorflow as tf

from kvae import priors, random
from kvae.testing import numerics
from kvae.testing.models import BATCH, examples, tiny_modalities, tiny_vae
from kvae.testing.parts import check_part, copied

__all__ = ["check_objective"]


def check_objective(objective, *, posterior="diagonal_gaussian", prior="standard_normal") -> None:
    """Checks what every objective promises.

    - What `check_part` checks.
    - `terms` has a tensor `[batch]` for each of `metric_names`, which begin with `loss` and hold
      `elbo`, `reconstruction` and `kl`; `elbo` is minus the sum of the other two.
    - The same seed gives the same terms, in a graph too.
    - The loss reaches the decoder and, finite, every variable that it reaches.
    - An objective of several modalities is checked with two, one of images with images.
    - An objective that guesses labels is checked with some that are known and some that are not.
    - A step of `fit` changes weights; a model of the same configuration and weights has the same
      loss.

    Args:
        objective: `kvae.objectives.Objective`, new. It is not changed.
        posterior: str or `kvae.posteriors.Posterior`. Of the model. Defaults to
            `"diagonal_gaussian"`.
        prior: str or `kvae.priors.Prior`. Of the model. Defaults to `"standard_normal"`.

    Raises:
        AssertionError: for a promise that is broken.

    Example:

    ```python
    kvae.testing.check_objective(kvae.objectives.ELBO(beta=4.0))
    ```
    """
    name = type(objective).__name__
    check_part(objective)
    guesses = objective.takes_unknown_labels
    if guesses and prior == "standard_normal":
        prior = priors.ClassConditional()  # Something has to depend on the label.
    if objective.of_modalities and posterior == "diagonal_gaussian":
        posterior = "joint_experts" if objective.of_joint_expert else "product_of_experts"
    make = tiny_modalities if objective.of_modalities else tiny_vae
    images = {"event_shape": (6, 6, 1)} if objective.of_images else {}
    vae = make(2, posterior=posterior, prior=prior, objective=copied(objective), **images)
    vae.build((None, *vae.event_shape))
    x, own = tf.constant(examples(vae, 2 * BATCH)), vae.objective
    label = np.arange(2 * BATCH) % (vae.num_classes + 1) - 1 if guesses else None

    def terms(seed):
        found = own.terms(vae.conditioned_on(label), x, x, training=True, seed=seed)
        return {key: found[key] for key in own.metric_names()}

    seed = random.as_seed(1)
    names = own.metric_names()
    assert names[0] == "loss" and {"elbo", "reconstruction", "kl"} <= set(names), (
        f"{name}: its metrics are {names}; they begin with 'loss', and hold 'elbo', "
        "'reconstruction' and 'kl'."
    )
    with tf.GradientTape(persistent=True) as tape:
        found = terms(seed)
        loss = tf.reduce_mean(found["loss"])
    for key, value in found.items():
        assert value.shape == (len(x),), (
            f"{name}: {key!r} has shape {value.shape}, not {(len(x),)}."
        )
        assert np.isfinite(value).all(), f"{name}: {key!r} is not finite."
    numerics.close(
        found["elbo"], -(found["reconstruction"] + found["kl"]), f"{name}: the parts of the ELBO"
    )
    numerics.same(terms(seed), found, f"{name}: terms of one seed")
    numerics.agree_in_graphs(terms, (seed,), f"{name}: terms", xla=False)
    decoder = [variable.value for variable in vae.decoder.trainable_variables]
    reached = tape.gradient(loss, decoder)
    assert all(gradient is not None for gradient in reached), (
        f"{name}: the loss does not depend on the decoder."
    )
    numerics.finite_gradients(loss, tape, vae.trainable_variables, name)
    before = vae.get_weights()
    vae.compile("sgd", run_eagerly=True)
    vae.fit(x.numpy() if label is None else (x.numpy(), label), epochs=1, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, vae.get_weights(), strict=True)]
    assert any(changed), f"{name}: a step of `fit` changes nothing."
    other = type(vae).from_config(vae.get_config())
    other.build((None, *vae.event_shape))
    other.set_weights(vae.get_weights())
    twin, here = (
        model.objective.terms(model.conditioned_on(label), x, x, training=False, seed=seed)["loss"]
        for model in (other, vae)
    )
    numerics.close(twin, here, f"{name}: the loss of a model with the same weights", 1e-5, 1e-5)
