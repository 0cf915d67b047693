"""Which of two models gives the same data more probability, and whether the data can tell."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kvae.datasets import Schema
from kvae.evaluation.differences import Difference, difference, signed
from kvae.evaluation.marginal_likelihood.log_prob import LogProb
from kvae.evaluation.result import Result
from kvae.likelihoods import Bernoulli
from kvae.utils import arguments
from kvae.utils.eager import evaluated_eagerly

__all__ = ["Comparison", "check_comparable", "compare"]

_UNDECIDED = "not distinguishable"


class Comparison(Result):
    """The result of `compare`: a mapping that prints as a table.

    Attributes:
        difference: `Difference`. The mean of log p_a(x) − log p_b(x), with its standard error.
        log_probs: pair of `LogProb`. The estimates of both models.
    """

    def __init__(self, *arguments, difference: Difference, log_probs, **options):
        super().__init__(*arguments, **options)
        self.difference, self.log_probs = difference, log_probs

    @property
    def distinguishable(self) -> bool:
        """Whether the data tell the models apart."""
        return self["verdict"] != _UNDECIDED


@evaluated_eagerly
def compare(
    a: Any,
    b: Any,
    data: Any,
    *,
    num_samples: int = 100,
    batch_size: int = 100,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[int], object] | None = None,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Compares two models by log p(x) of the same examples, with the same noise.

    The difference d_i = log p_a(x_i) − log p_b(x_i) is taken example by example. What makes an
    example easy or hard for both models falls out, so that the error of the mean of d is that of
    paired measurements, s(d) / √n, which is below those of the two means where the models agree on
    what is hard. The interval is Student's, mean ∓ t s(d) / √n.

    An estimate of log p(x) by importance sampling is too low, and more so for a model whose
    posterior is farther off. `monte_carlo_bias` is what the jackknife finds of that in the
    difference. Models count as distinguishable only where the interval leaves out 0 with that bias
    and without it.

    Args:
        a, b: `kvae.VAE`. They may have any networks, priors, posteriors and numbers of latents.
        data: `kvae.datasets.Dataset` or other data that `fit` takes, with labels for conditional
            models; at least two examples that neither model was trained on.
        num_samples: int. Importance samples for each example, at least two. Defaults to `100`.
        batch_size: int. Examples at once. Defaults to `100`.
        seed: int. That of both estimates. Defaults to `0`.
        confidence: float. The probability with which such intervals hold the difference of all
            data that these are drawn from. Defaults to `0.95`.
        progress: optional callable, called with the number of finished examples of both models.
        names: pair of str or `None`. What to call the models. Defaults to `None`: A and B.

    Returns:
        `Comparison`, a mapping: `difference` (above 0 where `a` is better), its `standard_error`,
        the ends of the `interval`, `confidence`, `monte_carlo_error` (what another seed would
        change if each model had noise of its own; by the same noise it is less where the models are
        alike) and `monte_carlo_bias`, in nats per example; `share_better`, the share of examples of
        which `a` gives more probability; `nll`, a dict of both models'
        `LogProb.summary`; `verdict`, "A is better", "B is better" or "not distinguishable";
        `num_examples`, `num_samples` and `seed`.

    Raises:
        ValueError: for models whose log p(x) do not compare (`check_comparable`), for fewer than
            two examples or samples, for data that a model does not take, and for a log p(x) that is
            not finite.

    Example:

    ```python
    test = kvae.datasets.load("digits", "test", binarize="static")
    a, b = zoo.load("dense_vae.digits"), zoo.load("conv_vae.digits")
    result = kvae.evaluation.compare(a, b, test, num_samples=50)
    print(result["verdict"], result["difference"], result["interval"])
    ```
    """
    check_comparable(a, b)
    num_samples = arguments.whole("num_samples", num_samples, 2)  # One tells nothing of its bias.
    confidence = arguments.number("confidence", confidence)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"`confidence` is above 0 and below 1, not {confidence:g}.")
    # Both see the same rows, also where dynamic binarization draws them.
    data = a.as_dataset(data)
    if len(data) < 2:
        raise ValueError(f"A comparison takes at least two examples, and there are {len(data)}.")
    _check_binary(a, b, data)
    names = ("A", "B") if names is None else names
    found: list[LogProb] = []
    for model in (a, b):
        done = len(found) * len(data)
        found.append(
            model.log_prob(
                data,
                num_samples=num_samples,
                batch_size=batch_size,
                seed=seed,
                progress=None if progress is None else lambda n, done=done: progress(done + n),
            )
        )
    return _comparison(found, data, names, confidence, seed, (a, b))


def check_comparable(a: Any, b: Any) -> None:
    """Checks that log p(x) of two models are of the same x, and of the same kind.

    A density changes with the unit of x and is not bounded, a probability is at most 1: their
    logarithms say nothing of each other. Nor does log p(x|y) of log p(x).

    Args:
        a, b: `kvae.VAE`.

    Raises:
        ValueError: for an autoencoder, other shapes or names of what an event holds, a density
            beside a probability, and labels or conditions that only one model is told.
    """
    for model in (a, b):
        if not model.posterior.has_density:
            raise ValueError(
                f"{model.name} is an autoencoder ({type(model.posterior).__name__} posterior): it "
                "defines no log p(x) to compare. Compare reconstruction errors of kvae evaluate."
            )
    if a.event_shape != b.event_shape:
        raise ValueError(
            f"The models are of different x: events of shape {a.event_shape} and {b.event_shape}. "
            "Compare models of the same data."
        )
    for what, first, second in zip(_READ, _read(a), _read(b), strict=True):
        if first and second and first != second:
            raise ValueError(
                f"The models are of different x: the {what} of one are {first}, and of the other "
                f"{second}. Compare models of the same data."
            )
    own, other = a.likelihood.discrete, b.likelihood.discrete
    if own != other:
        kinds = [
            "probabilities" if one is True else "densities" if one is False else "of both kinds"
            for one in (own, other)
        ]
        raise ValueError(
            f"The likelihoods do not compare: values of {type(a.likelihood).__name__} are "
            f"{kinds[0]}, and those of {type(b.likelihood).__name__} {kinds[1]}. Train both models "
            "with likelihoods of one kind."
        )
    said = [_told(model) for model in (a, b)]
    if said[0] != said[1]:
        raise ValueError(
            f"One model gives log p(x) of {said[0]}, the other of {said[1]}: they do not compare. "
            "Give two that are told the same."
        )
    if a.conditional and a.takes_unknown_labels != b.takes_unknown_labels:
        raise ValueError(
            "One of the models guesses labels, and the other takes them: log p(x) and log p(x|y) "
            "do not compare."
        )


_READ = ("modalities", "columns", "classes", "conditions")


def _read(model) -> tuple[str, ...]:
    """Returns for what the numbers of data stand, as far as a model remembers it, by `_READ`."""

    def listed(columns) -> str:
        return ", ".join(
            column.name + (f" ({', '.join(column.categories)})" if column.categories else "")
            for column in columns
        )

    modalities = ", ".join(f"{key} {model.likelihood.shapes[key]}" for key in model.modalities)
    schema = model.schema or Schema()
    classes = ", ".join(schema.class_names) if model.num_classes is not None else ""
    return modalities, listed(schema.columns), classes, listed(schema.conditions)


def _told(model) -> str:
    if model.conditions is not None:
        return f"the conditions {', '.join(model.conditions.kinds)}"
    return "no labels" if model.num_classes is None else f"{model.num_classes} classes"


def _check_binary(a, b, data) -> None:
    """Refuses grey values where one model alone takes them for probabilities of 0 and 1."""
    binary = [isinstance(model.likelihood, Bernoulli) for model in (a, b)]
    if binary[0] == binary[1]:
        return
    for x, _ in a.event_rows(data, batch_size=1024, support=False):
        x = np.asarray(x)
        if not np.all((x == 0) | (x == 1) | np.isnan(x)):
            raise ValueError(
                "These data have values between 0 and 1, of which a Bernoulli likelihood gives no "
                "probability: it compares with another likelihood on zeros and ones alone "
                "(binarize)."
            )


def _comparison(found, data, names, confidence: float, seed: int, models) -> Comparison:
    import scipy.stats

    first, second = (one.value for one in found)
    for name, value in zip(names, (first, second), strict=True):
        lost = np.sum(~np.isfinite(value))
        if lost:
            raise ValueError(
                f"log p(x) of {name} is not finite for {lost} of {len(value)} examples, so that "
                "there is no mean to compare. Look at them with vae.log_prob(data).value."
            )
    gap, n = difference(first, second), len(first)
    sigmas = float(scipy.stats.t.ppf(0.5 + confidence / 2, n - 1))
    low, high = gap.interval(sigmas)
    bias = float(np.mean(found[0].bias - found[1].bias))
    noise = math.hypot(*(one.summary()["monte_carlo_error"] for one in found))
    ends = (low, high, low - bias, high - bias)
    better = 0 if min(ends) > 0 else 1 if max(ends) < 0 else None
    told = _UNDECIDED if better is None else f"{names[better]} is better"
    share = float(np.mean(first > second))
    nll = {name: one.summary() for name, one in zip("ab", found, strict=True)}
    values = {
        "verdict": _UNDECIDED if better is None else f"{'AB'[better]} is better",
        "difference": gap.value,
        "standard_error": gap.error,
        "interval": [low, high],
        "confidence": confidence,
        "monte_carlo_error": noise,
        "monte_carlo_bias": bias,
        "share_better": share,
        "nll": nll,
        "num_examples": n,
        "num_samples": found[0].num_samples,
        "seed": seed,
    }
    rows = [
        ("log p(x) of " + names[0], f"{-nll['a']['nll']:.3f}", _error(nll["a"])),
        ("log p(x) of " + names[1], f"{-nll['b']['nll']:.3f}", _error(nll["b"])),
        (
            "difference",
            signed(gap.value, 3),
            f"± {gap.error:.3f} (paired, {n} examples), ± {noise:.3f} (samples, if apart)",
        ),
        (f"{100 * confidence:g} % interval", f"{signed(low, 3)} to {signed(high, 3)}", ""),
        ("bias of the samples", signed(bias, 3), "estimated part of the difference"),
        (f"{names[0]} ahead in", f"{100 * share:.1f} %", "of the examples"),
        ("verdict", told, _reason(better, ends)),
    ]
    note = f"{n} examples of {data.name} {data.split}, {found[0].num_samples} samples, seed {seed}"
    bounds = [n for n, m in zip(names, models, strict=True) if m.posterior.deterministic]
    if bounds:
        note += f"; of {' and '.join(bounds)} it is the ELBO, a lower bound"
    return Comparison(
        f"{names[0]} and {names[1]}",
        values,
        ("quantity", "nats", ""),
        rows,
        note,
        difference=gap,
        log_probs=tuple(found),
    )


def _error(summary) -> str:
    return f"± {summary['standard_error']:.3f} (examples)"


def _reason(better: int | None, ends) -> str:
    if better is not None:
        return "the interval leaves out 0"
    if min(ends[:2]) <= 0 <= max(ends[:2]):
        return "the interval holds 0"
    return "without the bias of the samples the interval holds 0: give more samples"
