"""The base class of studies, and their register."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from kvae.utils.register import Register

if TYPE_CHECKING:
    from kvae.studies.lab import Lab

__all__ = ["STUDIES", "Study", "register"]

STUDIES = Register("study", group="kvae.studies")
_Kind = TypeVar("_Kind", bound=type["Study"])


class Study:
    """A question about variational autoencoders, and the experiments that answer it.

    Attributes:
        question: str. What is asked, the title of the report.
        datasets: tuple of str. The datasets that the study can be made on, the usual one first.
            Defaults to `("digits", "mnist")`.
    """

    question: str
    datasets: tuple[str, ...] = ("digits", "mnist")

    def run(self, lab: "Lab") -> None:
        """Trains and measures in a lab, and fills its report and its list of findings."""
        raise NotImplementedError


def register(name: str) -> Callable[[_Kind], _Kind]:
    """Returns a decorator that gives a subclass of `Study` a name, by which `kvae study` knows it.

    Code outside of this library announces itself as a plugin of the group `kvae.studies`, see
    `kvae.utils.plugins`.

    Args:
        name: str. The name on the command line, e.g. `"why-sample"`.

    Raises:
        ValueError: when another class has registered a study of this name.

    Example:

    ```python
    @kvae.studies.register("how-wide")
    class HowWide(kvae.studies.Study):
        question = "Do more latents make a better model?"

        def run(self, lab):
            narrow, wide = (lab.fit(f"{d} latents", latent_dim=d) for d in (2, 8))
            better = wide.log_prob.mean() - narrow.log_prob.mean()
            lab.finding("Eight latents are better than two", better > 0, f"{better:.2f} nats")
    ```
    """
    return STUDIES.register(name)
