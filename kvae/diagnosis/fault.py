"""A fault of a model or of its data, with what shows it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

__all__ = ["SEVERITIES", "Fault"]

SEVERITIES = ("serious", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault that figures show.

    Attributes:
        name: str. `"wrong_range"`, `"grey_values"`, `"drift"`, `"collapsed"`, `"off_the_prior"`,
            `"sigma_too_small"`, `"sigma_too_large"`, `"over_regularised"`, `"under_regularised"`
            or `"over_fitted"`.
        severity: str. `"serious"`: figures or samples of the model mislead; `"warning"`: it could
            be better; `"note"`: worth knowing.
        evidence: str. The figures that show it, in a sentence.
        suggestion: str. What to do.
        figures: mapping. The numbers of the evidence, by name.
        remedy: `kvae.diagnosis.remedies.Remedy` or `None`. The suggestion as something that can be
            tried.
    """

    name: str
    severity: str
    evidence: str
    suggestion: str
    figures: Mapping[str, Any]
    remedy: Any = None

    def to_dict(self) -> dict:
        """Returns the fault as plain data, without the remedy."""
        return {
            "name": self.name,
            "severity": self.severity,
            "evidence": self.evidence,
            "suggestion": self.suggestion,
            "figures": dict(self.figures),
        }
