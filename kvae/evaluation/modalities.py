"""What modalities say of one another: conditional log p, and coherence."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvae.evaluation.marginal_likelihood.importance import importance_log_prob
from kvae.evaluation.marginal_likelihood.log_prob import LogProb
from kvae.evaluation.result import Result
from kvae.utils import arguments, names

__all__ = ["ConditionalLogProb", "coherence", "conditional_log_prob"]

_MOST_FOR_ALL = 4  # Modalities, of which all subsets are translated.


@dataclasses.dataclass(frozen=True)
class ConditionalLogProb:
    """Estimates of log p(x_rest|x_given) for `n` examples, in nats.

    Attributes:
        value: array `[n]`. `joint.value − given.value`.
        monte_carlo_error: array `[n]`. The errors of both, which are independent.
        joint: `LogProb`. The estimate of log p of all that an example has.
        given: `LogProb`. The estimate of log p of what is given.
    """

    value: np.ndarray
    monte_carlo_error: np.ndarray
    joint: LogProb
    given: LogProb

    def summary(self) -> dict:
        """Returns the mean, its standard error and that of another seed, as a dict of numbers."""
        n = len(self.value)
        return {
            "log_prob": float(np.mean(self.value)),
            "standard_error": float(np.std(self.value, ddof=1) / np.sqrt(n)) if n > 1 else np.nan,
            "monte_carlo_error": float(np.sqrt(np.sum(self.monte_carlo_error**2)) / n),
            "num_examples": n,
        }

    def __repr__(self) -> str:
        found = self.summary()
        return (
            f"log p(rest|given) of {found['num_examples']} examples, on average "
            f"{found['log_prob']:.3f} nats (± {found['standard_error']:.3f} by examples)"
        )


def conditional_log_prob(
    vae: Any, x: Mapping, *, given: str | Sequence[str], num_samples: int = 1000, seed: int = 0
) -> ConditionalLogProb:
    """Estimates log p(x_rest|x_given) = log p(x) − log p(x_given), in nats.

    Each of the two is an estimate by importance sampling from the posterior of what it is of, with
    noise of its own, and is too low in expectation; the difference may be too low or too high.

    Args:
        vae: `kvae.VAE` of several modalities.
        x: mapping from names of modalities to arrays `[n, *shape]`.
        given: str or sequence of str. The modalities that are known.
        num_samples: int. Importance samples for each example. Defaults to `1000`.
        seed: int. Defaults to `0`.

    Returns:
        `ConditionalLogProb`.

    Raises:
        ValueError: for a model of one modality, an unknown one, and nothing that is not given.

    Example:

    ```python
    x = {"image": x_test, "label": y_test}
    found = kvae.evaluation.conditional_log_prob(vae, x, given="image", num_samples=100)
    found.value      # log p(label|image) of each example
    ```
    """
    given = [given] if isinstance(given, str) else list(given)
    for key in given:
        if key not in vae.modalities or key not in x:
            known = [name for name in vae.modalities if name in x]
            raise names.unknown_name("modality", str(key), known)
    if not given or set(x) <= set(given):
        raise ValueError(
            f"`x` has {', '.join(map(repr, x))}, and {', '.join(map(repr, given)) or 'nothing'} is "
            "given: log p(rest|given) is of some modalities, given some others."
        )
    of_all = importance_log_prob(vae, dict(x), num_samples=num_samples, seed=seed)
    known = {key: x[key] for key in given}
    of_given = importance_log_prob(vae, known, num_samples=num_samples, seed=seed + 1)
    errors = np.hypot(of_all.monte_carlo_error, of_given.monte_carlo_error)
    return ConditionalLogProb(of_all.value - of_given.value, errors, of_all, of_given)


def coherence(
    vae: Any,
    x: Mapping,
    labels: Any,
    classifiers: Mapping[str, Callable],
    *,
    num_draws: int = 1000,
    output: str | None = None,
    seed: int = 0,
) -> Result:
    """Measures whether modalities that are generated together are of one class.

    *Cross-coherence* of a translation is the share of the examples whose translated modality a
    classifier takes for the class that the example has. *Joint coherence* is the share of draws
    from the prior all of whose modalities their classifiers take for one class.

    Args:
        vae: `kvae.VAE` of several modalities.
        x: mapping from names of modalities to arrays `[n, *shape]`.
        labels: int array `[n]`. The classes of the examples.
        classifiers: mapping from names of modalities to functions from arrays `[n, *shape]` to
            class numbers `[n]`, or to scores `[n, classes]` whose largest is meant, as a
            `keras.Model`'s. A modality that is the class is its own: `lambda label: label`.
        num_draws: int. Draws from the prior. Defaults to `1000`.
        output: str or `None`. As in `vae.translate`; draws from the prior are the mode with `None`.
        seed: int. z is drawn with it, from q(z|x) and from the prior. Defaults to `0`.

    Returns:
        `Result`: the shares by name, as `image → label` and `joint` (with two classifiers or more).
        Of at most 4 modalities every subset is translated, of more each alone.

    Raises:
        ValueError: for a model of one modality, and an unknown one.

    Example:

    ```python
    same = {"label": lambda label: label, "image": classifier}
    x = {"image": x_test, "label": y_test}
    kvae.evaluation.coherence(vae, x, y_test, same)["image → label"]
    ```

    Reference:
        - [Shi et al., Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative
          Models, section 4.1](https://arxiv.org/abs/1911.03393)
    """
    for key in [*x, *classifiers]:
        if key not in vae.modalities:
            raise names.unknown_name("modality", str(key), vae.modalities)
    num_draws = arguments.whole("num_draws", num_draws)
    labels = np.asarray(labels)
    present = [key for key in vae.modalities if key in x]
    most = len(present) if len(present) <= _MOST_FOR_ALL else 1
    values = {}
    for size in range(1, most + 1):
        for sources in itertools.combinations(present, size):
            targets = [key for key in classifiers if key not in sources]
            if not targets:
                continue
            known = {key: x[key] for key in sources}
            found = vae.translate(known, to=targets, output=output, seed=seed)
            for key in targets:
                right = _classes(classifiers[key], found[key]) == labels
                values[f"{', '.join(sources)} → {key}"] = float(np.mean(right))
    if len(classifiers) > 1:
        drawn = vae.sample(num_draws, seed=seed, output=output or "mode")
        votes = np.stack([_classes(classifiers[key], drawn[key]) for key in classifiers])
        values["joint"] = float(np.mean((votes == votes[0]).all(axis=0)))
    note = f"{len(labels)} examples translated, {num_draws} draws from the prior"
    rows = list(values.items())
    return Result("Coherence", values, ("modalities", "of one class"), rows, note)


def _classes(classifier: Callable, values) -> np.ndarray:
    """Returns the class numbers `[n]` that a classifier gives values."""
    found = np.asarray(classifier(np.asarray(values)))
    return np.argmax(found, axis=-1) if found.ndim == 2 else found.astype(int)
