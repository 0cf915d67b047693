"""Claims, the verdicts of the figures on them, and their words."""

import dataclasses

__all__ = ["Finding"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim that people make, and the verdict of the figures.

    Attributes:
        claim: str. A sentence.
        holds: bool or `None`. `None` when the difference is within its error, and where nothing may
            be concluded.
        evidence: str. The figures that decide, made from the table and not by hand.
        refused: str. Why nothing may be concluded from these figures; empty where it may.
    """

    claim: str
    holds: bool | None
    evidence: str
    refused: str = ""

    def __str__(self) -> str:
        verdict = (
            f"No conclusion, because {self.refused}"
            if self.refused
            else {
                True: "Supported",
                False: "Not supported by these data",
                None: "Undecided, within the error",
            }[self.holds]
        )
        return f"{verdict}: {self.claim.rstrip('.')} ({self.evidence.rstrip('.')})."
