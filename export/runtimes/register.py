"""The register of runtimes: the programs that run exported files, each in a process of its own."""

import dataclasses
import pathlib
from collections.abc import Callable

from export.signatures import Signature
from kvae.utils.register import Register

__all__ = ["RUNTIMES", "Runtime"]


@dataclasses.dataclass
class Runtime:
    """A program that runs exported files.

    Attributes:
        title: str. What reports call it, e.g. `"LiteRT"`.
        module: str. `python -m MODULE` answers the requests of `export.runtimes.child`.
        suffix: str. The ending of the files that it runs; empty for a SavedModel's folder.
        require: callable. Raises ModuleNotFoundError or FileNotFoundError, with what to install,
            where it is not there.
        accelerator: str. What it runs on: `"cpu"` or `"gpu"`. Defaults to `"cpu"`.
        signatures: callable or `None`. Reads the signatures of a file at a path. Defaults to
            `None`: the process itself says them, as `signatures` among its facts.
        only: str or `None`. The one signature that it runs. Defaults to `None`: it runs all.
        second: bool. Whether it is a second opinion on files that another runtime runs too, and
            one that may be missing. Defaults to `False`.
    """

    title: str
    module: str
    suffix: str
    require: Callable[[], object]
    accelerator: str = "cpu"
    signatures: Callable[[pathlib.Path], dict[str, Signature]] | None = None
    only: str | None = None
    second: bool = False

    def installed(self) -> bool:
        """Checks whether it can run here."""
        try:
            self.require()
        except (ModuleNotFoundError, FileNotFoundError):
            return False
        return True


RUNTIMES = Register("runtime", group="export.runtimes")
