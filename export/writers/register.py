"""The register of formats: what `kvae export --format` knows."""

import dataclasses
from collections.abc import Callable

from kvae.utils.register import Register

__all__ = ["FORMATS", "Format"]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format in which a model can be written.

    Attributes:
        title: str. What help texts call it, e.g. `"ONNX"`.
        write: callable. `write(model, path, **options)` writes the model and returns the path, or
            an `export.Publication`.
        output: str. Where `kvae export` writes by default; `{name}` stands for the model's name.
        options: tuple of str. The arguments of `write` that `kvae export` fills in: `version`,
            `preprocessing`, `fit`, `precision`, `batch_size`, `parts` or `part`, `calibration`,
            `data`, `title`, `card`, `name`, `keep`, `verify`. Defaults to none.
        values: dict of str to tuple. The values of an option that the format takes, where it does
            not take all. Defaults to `{}`.
        verified: bool. Whether `export.verify` runs what was written. Defaults to `True`.
        measured: bool. Whether `export.profile` measures what was written. Defaults to `False`.
        require: callable or `None`. Raises ModuleNotFoundError where a package is missing, before
            a model is loaded. Defaults to `None`: no package is needed.
        advice: str. What `kvae export` says at the end; `{path}` stands for the path. Defaults to
            nothing.

    Example, in a module that the environment variable `KVAE_PLUGINS` names:

    ```python
    def weights(model, path):
        np.savez(path, *model.get_weights())
        return path

    FORMATS.add("npz", Format("NumPy", weights, "{name}.npz", verified=False))
    ```
    """

    title: str
    write: Callable
    output: str
    options: tuple[str, ...] = ()
    values: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    verified: bool = True
    measured: bool = False
    require: Callable[[], object] | None = None
    advice: str = ""


FORMATS = Register("format", group="export.formats")
