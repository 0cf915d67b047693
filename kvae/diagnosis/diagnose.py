"""All checks of a model in one call."""

import textwrap
from typing import Any

import numpy as np

from kvae.diagnosis import checks
from kvae.diagnosis.fault import SEVERITIES, Fault
from kvae.diagnosis.figures import Figures
from kvae.diagnosis.limits import limits
from kvae.diagnosis.trial import tried
from kvae.evaluation import Result
from kvae.utils import arguments
from kvae.utils.eager import evaluated_eagerly

__all__ = ["Diagnosis", "diagnose"]

_WIDTH = 100


class Diagnosis(Result):
    """The result of `diagnose`: a mapping that prints as a report.

    Attributes:
        faults: tuple of `Fault`, the most serious first.
    """

    def __init__(self, *arguments, faults: tuple[Fault, ...], **options):
        super().__init__(*arguments, **options)
        self.faults = faults

    @property
    def serious(self) -> bool:
        """True if at least one of the faults is serious."""
        return any(fault.severity == "serious" for fault in self.faults)

    def __str__(self) -> str:
        parts = [f"{self.title}\n{self.note}"]
        for fault, found in zip(self.faults, self["faults"], strict=True):
            lines = [f"{fault.severity}: {_words(fault.name)}"]
            for text in (fault.evidence, f"What to do: {fault.suggestion}", _trial_told(found)):
                if text:
                    lines += textwrap.wrap(
                        text, _WIDTH, initial_indent="  ", subsequent_indent="  "
                    )
            parts.append("\n".join(lines))
        if not self.faults:
            parts.append("No fault found.")
        parts.append(f"Looked for: {', '.join(self['checked'])}.")
        if self["limits"]:
            parts.append("\n".join(textwrap.wrap(" ".join(self["limits"]), _WIDTH)))
        return "\n\n".join(parts)

    __repr__ = __str__


@evaluated_eagerly
def diagnose(
    model: Any,
    data: Any,
    train: Any = None,
    *,
    num_examples: int = 1000,
    seed: int = 0,
    try_suggestions: bool = False,
    epochs: int = 5,
    num_samples: int = 50,
    name: str | None = None,
) -> Diagnosis:
    """Looks for what is wrong with a trained model, and says how that shows and what to do.

    | fault | how it shows |
    |---|---|
    | `wrong_range` | values outside of the support, or of another unit than what the model makes |
    | `grey_values` | values between 0 and 1 under a Bernoulli likelihood |
    | `drift` | a classifier tells training from test data |
    | `collapsed`, `partly_collapsed` | rate, active units and mutual information |
    | `off_the_prior` | a density fitted to other codes gives these more than the prior does |
    | `sigma_too_small`, `sigma_too_large` | another scale of p(x|z) makes the data more probable |
    | `over_regularised`, `under_regularised` | narrower or wider q(z|x) have a higher ELBO |
    | `over_fitted` | the ELBO of training data is far above that of test data |

    A fault is named where its figures are more than two standard errors beyond a bound; what is
    within them is no fault. The scale and the width are judged by the training data where there are
    any, since on other data an over-fitted model is too sure as well.

    Args:
        model: `kvae.VAE`, trained.
        data: `kvae.datasets.Dataset` or other data that `vae.encode` takes, which the model was not
            trained on; with labels for a conditional model.
        train: the same of its training data, or `None`, which leaves out drift and over-fitting.
        num_examples: int. The number of examples that are looked at, at even distances. Defaults to
            `1000`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        try_suggestions: bool. Whether to measure the suggestions that can be tried: a copy of the
            model is changed and trained for some epochs on `train`, and compared with an unchanged
            copy that is trained alike. Defaults to `False`.
        epochs: int. The epochs of such a training. Defaults to `5`.
        num_samples: int. The importance samples of such a comparison. Defaults to `50`.
        name: str or `None`. What to call the model. Defaults to `None`: its own name.

    Returns:
        `Diagnosis`, a mapping: `faults`, a list of dicts (`name`, `severity`, `evidence`,
        `suggestion`, `figures` and, where one was tried, `trial`), the most serious first;
        `checked`, what was looked for; `limits`, sentences that say what could not be seen, of few
        examples or because the training is not done; `num_examples`, `num_training_examples` and
        `seed`.

    Raises:
        ValueError: for fewer than ten examples, `try_suggestions` without `train`, and data of
            another shape.

    Example:

    ```python
    train, test = (
        kvae.datasets.load("digits", split, binarize="static") for split in ("train", "test")
    )
    result = kvae.diagnosis.diagnose(zoo.load("dense_vae.digits"), test, train, num_examples=200)
    print(result)
    [fault.name for fault in result.faults]
    ```

    References:
        - [Hoffman & Johnson, ELBO surgery](
          http://approximateinference.org/accepted/HoffmanJohnson2016.pdf): a prior that the codes
          do not follow
        - [Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders](
          https://arxiv.org/abs/2006.13202): σ
        - [Lopez-Paz & Oquab, Revisiting Classifier Two-Sample Tests](
          https://arxiv.org/abs/1610.06545): drift
    """
    num_examples = arguments.whole("num_examples", num_examples, 10)
    num_samples = arguments.whole("num_samples", num_samples, 2)
    epochs = arguments.whole("epochs", epochs)
    if try_suggestions and train is None:
        raise ValueError("To try suggestions takes `train`, the data to train on.")
    whole = None if train is None else model.as_dataset(train)
    own = Figures(model, _some(model.as_dataset(data), num_examples), seed)
    seen = None if whole is None else Figures(model, _some(whole, num_examples), seed)
    for one in (own, seen):
        if one is not None and len(one.x) < 10:
            raise ValueError(
                f"A diagnosis takes at least ten examples, and there are {len(one.x)}."
            )
    found, checked = _checked(own, seen)
    found = sorted(
        (fault for fault in found if fault is not None),
        key=lambda fault: SEVERITIES.index(fault.severity),
    )
    told = [fault.to_dict() for fault in found]
    for fault, facts in zip(found, told, strict=True):
        if try_suggestions and fault.remedy is not None:
            facts["trial"] = tried(
                model,
                fault.remedy,
                whole,
                own.data,
                epochs=epochs,
                num_samples=num_samples,
                seed=seed,
            )
    values = {
        "faults": told,
        "checked": checked,
        "limits": limits(own, seen) if len(checked) > 1 else [],
        "num_examples": len(own.x),
        "num_training_examples": 0 if seen is None else len(seen.x),
        "seed": seed,
    }
    rows = [
        (_words(fault.name), fault.severity, fault.evidence, fault.suggestion, _trial_told(facts))
        for fault, facts in zip(found, told, strict=True)
    ]
    note = f"{len(own.x)} examples of {own.data.name} {own.data.split}"
    if seen is not None:
        note += f", {len(seen.x)} of {seen.data.split}"
    return Diagnosis(
        f"Diagnosis of {name or model.name}",
        values,
        ("fault", "severity", "evidence", "what to do", "tried"),
        rows,
        f"{note}, seed {seed}",
        faults=tuple(found),
    )


def _checked(own: Figures, seen: Figures | None) -> tuple[list[Fault | None], list[str]]:
    """Runs the checks that a model allows; returns the faults, and what was looked for."""
    model, checked = own.model, ["range of the data"]
    found = [checks.range_of_data(own)]
    if found[0] is not None and found[0].name == "wrong_range":
        return found, checked  # No other figure would mean anything.
    drifts = None
    if seen is not None:
        drifts = checks.drift(own, seen)
        found.append(drifts)
        checked.append("drift")
    if model.posterior.has_density and model.prior is not None:
        found += [checks.collapse(own), checks.misfit(own, None if drifts is not None else seen)]
        found.append(checks.width(own if seen is None else seen))
        checked += ["collapse", "fit of the prior", "width of the posterior"]
    found.append(checks.sigma(own if seen is None else seen))
    checked.append("σ")
    if seen is not None and drifts is None:
        found.append(checks.over_fit(own, seen))
        checked.append("over-fitting")
    return found, checked


def _some(data: Any, most: int) -> Any:
    """Returns at most so many examples, at even distances, since files may be sorted."""
    n = len(data)
    return data.take(np.linspace(0, n - 1, min(n, most)).astype(int))


def _words(name: str) -> str:
    return (
        name.replace("sigma", "σ")
        .replace("over_", "over-")
        .replace("under_", "under-")
        .replace("_", " ")
    )


def _trial_told(facts: dict) -> str:
    trial = facts.get("trial")
    if trial is None:
        return ""
    low, high = trial["interval"]
    trained = f", {trial['epochs']} epochs" if trial["epochs"] else ""
    return (
        f"Tried ({trial['told']}{trained}): log p(x) differs by {_nats(trial['difference'])} ± "
        f"{trial['standard_error']:.2g} nats (95 %: {_nats(low)} to {_nats(high)}): "
        f"{trial['verdict']}."
    )


def _nats(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
