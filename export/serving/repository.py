"""Model repositories for TensorFlow Serving: versions, configuration, manifests."""

import contextlib
import dataclasses
import errno
import importlib.resources
import json
import math
import os
import pathlib
import re
import string
from typing import TYPE_CHECKING, Any

import numpy as np

from export.files import meta_graph
from export.files.versions import versions
from export.signatures import BATCH_SIZES, DECODE, specified_input
from export.verification.results import Report
from export.verification.verify import verify as run_elsewhere
from export.writers.register import FORMATS, Format
from export.writers.saved_model import saved_model
from kvae.utils import callers, io, locks

if TYPE_CHECKING:
    from kvae.models.vae import VAE

__all__ = ["IMAGE", "MODELS", "Publication", "models", "publish"]

# The release of the TensorFlow that exports, and no tag such as `latest`, which moves.
IMAGE = "tensorflow/serving:2.21.0"
MODELS = "models"

# A file with this line is written anew by each publication; one without it is left alone.
MARK = "Written by kvae export. Take this line out to keep your own version of the file."

# The names that the server's REST paths, its text files and every file system allow.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TYPED = ("float32", "int64")
_FULL = "Free some space, e.g. with --keep, or publish elsewhere."
_PATIENCE = 60.0  # Seconds to wait for another publication, which takes less than one.
_LARGEST_LITERAL = 64  # Numbers. Larger inputs are not written out in the README.


@dataclasses.dataclass(frozen=True)
class Publication:
    """The version that `publish` has published.

    Attributes:
        path: path. The version folder.
        version: int. Its number.
        pruned: tuple of int. The versions that were removed.
        report: `Report` of the verification, or `None` where it was not asked for.
    """

    path: pathlib.Path
    version: int
    pruned: tuple[int, ...]
    report: Report | None


def publish(
    model: "VAE",
    repository: str | os.PathLike,
    name: str,
    keep: int | None = None,
    verify: bool = True,
    **options: Any,
) -> Publication:
    """Publishes a model in a repository that TensorFlow Serving runs as it is.

    The repository holds `models/NAME/VERSION/` for each of its models, and beside them
    `models.config`, `batching_params.pbtxt`, `monitoring.config`, `docker-compose.yml`, Kubernetes
    manifests (`kubernetes/cpu.yaml`, `gpu.yaml`, `copy.yaml`) and a `README.md` with the commands
    that start the server and calls to it. Each publication writes these files anew, except those
    whose first line you have taken out.

    A version gets the number after the largest one there, and appears at once and whole: it is
    written (and verified) in a hidden folder of the repository and then renamed, so that a server
    that polls never sees half of it, nor one that does not run. No version is ever overwritten.
    Several processes may publish in a repository at the same time: each holds the repository's lock
    (`kvae.utils.locks.Lock`) while it takes its number and writes the files beside the models. The
    next publication removes what a killed process left.

    Args:
        model: `kvae.VAE`. Built.
        repository: str or path. The repository's folder; made when it is not there.
        name: str. What clients call the model: letters, digits, `.`, `_` and `-`.
        keep: int. The number of this model's newest versions to keep; older ones are removed. Each
            is renamed out of the server's sight before it is deleted. With 1, a server that is
            still loading the previous version may lose it, so give 2 or more where versions follow
            each other within seconds. Defaults to `None`: all are kept.
        verify: bool. Whether to run the version in TensorFlow's C++ runtime and to compare it with
            the model before it is published. Defaults to `True`. Where OpenVINO is installed, its
            answers are in the report too; if they disagree, the version is published with a
            `RuntimeWarning`.
        **options: Passed on to `export.saved_model`.

    Returns:
        `Publication`.

    Raises:
        BlockingIOError: if another process holds the repository's lock for more than a minute.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        OSError: if the disk is full. Nothing half-written is left.
        TypeError: if `model` is no `kvae.VAE`, or `keep` no integer.
        ValueError: for a name that cannot be served, `keep` below 1, a model that is not built, or
            one that does not pass the verification.

    Example:

    ```python
    done = export.publish(zoo.load("conv_vae.digits"), "serving", "digits", keep=3)
    print(done.path)                                           # serving/models/digits/1
    ```

    Then `docker compose up` in `serving` serves it.
    """
    from export.graphs import endpoints

    endpoints.exportable(model)
    check_name(name)
    _check_keep(keep)
    if "version" in options:
        raise TypeError(
            "`publish` gives the next free number. For a number of your own use export.saved_model."
        )
    repository = pathlib.Path(repository)
    home = io.writable_folder(repository / MODELS, f"publish in {repository}")
    folder = io.writable_folder(home / name, f"publish in {repository}")
    lock = locks.Lock(repository, "a publication", wait=_PATIENCE)
    try:
        # The scratch folder is beside the models, where no server looks for versions.
        with (
            io.disk_errors(repository, "nothing was published", _FULL),
            io.scratch_folder(home, "publish") as staging,
        ):
            written, report = _written(model, staging / name, folder, verify, options)
            with lock:
                path = _numbered(written, folder)
                if report is not None:
                    report.path = path  # Where it ran is no more.
                outcome = f"{path} was published without its configuration"
                with io.disk_errors(repository, outcome, _FULL):
                    _configure(repository)
                pruned = () if keep is None else _prune(folder, keep)
    finally:
        # If a model's first publication failed, a server would look for its versions in vain.
        with contextlib.suppress(OSError):
            folder.rmdir()
    return Publication(path, int(path.name), pruned, report)


def models(repository: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Lists the models of a repository that have a version: name to folder, in order."""
    home = pathlib.Path(repository) / MODELS
    if not home.is_dir():
        return {}
    return {
        folder.name: folder
        for folder in sorted(home.iterdir())
        if not folder.name.startswith(".") and versions(folder)
    }


def find_models(path: str | os.PathLike, name: str | None = None) -> dict[str, pathlib.Path]:
    """Finds what there is to serve at a path: name to folder of versions.

    Args:
        path: str or path. A model repository, a model's folder of versions, or one of them.
        name: str. The model's name where the path is not a repository, or the only one to take.

    Raises:
        FileNotFoundError: if there is nothing that can be served.
        ValueError: if a repository has no model of that name, or the version is not the newest.
    """
    path = pathlib.Path(path).resolve()
    found = models(path)
    if not found and name is not None:
        check_name(name)
    if found:
        if name is not None and name not in found:
            raise ValueError(f"{path} has no model {name!r}. It has: {', '.join(found)}.")
        return found if name is None else {name: found[name]}
    if (path / "saved_model.pb").is_file() and path.name.isdigit():
        if int(path.name) != versions(path.parent)[-1]:
            raise ValueError(f"The newest version is served, and {path.name} is not: {path.parent}")
        path = path.parent
    if versions(path):
        return {name or path.name: path}
    raise FileNotFoundError(
        f"There is no model to serve in {path}. Write one with `kvae export NAME --format "
        f"repository {path}`."
    )


def check_name(name: str) -> None:
    """Raises a ValueError for a name that a server cannot have in its paths."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name that can be served. Use up to 63 letters, digits, '.', "
            "'_' and '-', with a letter or a digit at both ends."
        )


def _check_keep(keep: int | None) -> None:
    if keep is None:
        return
    if isinstance(keep, bool) or not hasattr(keep, "__index__"):
        raise TypeError(f"`keep` is a number of versions, not {keep!r}.")
    if int(keep) < 1:
        raise ValueError(f"`keep` is at least 1, not {keep}: the new version is one of them.")


def _written(model, directory, place, verify: bool, options: dict):
    """Writes a version in a hidden folder; returns its path, and the report of its verification."""
    written = saved_model(model, directory, **options)
    if not verify:
        return written, None
    report = run_elsewhere(written, model)
    # Messages name the place that the version was to have, and not the scratch folder.
    report.path = place
    if not report.required_ok:
        raise ValueError(
            f"The exported {directory.name} does not do what the model does, and nothing was "
            f"published.\n{report}"
        )
    if not report.ok:
        callers.warn(
            f"{directory.name} does what the model does where it is served, and is published; a "
            f"further runtime disagrees.\n{report}",
            RuntimeWarning,
        )
    return written, report


def _numbered(written: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Renames a version to the next free number."""
    while True:
        path = folder / str(max(versions(folder), default=0) + 1)
        try:
            os.rename(written, path)
            return path
        except OSError as error:
            # A process that ignores the lock has taken this number, so take the next one.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def _prune(folder: pathlib.Path, keep: int) -> tuple[int, ...]:
    """Removes all versions but the newest `keep`, oldest first."""
    pruned = []
    for version in versions(folder)[:-keep]:
        for path in folder.iterdir():
            if path.name.isdigit() and path.name.isascii() and int(path.name) == version:
                # The server's user may own it. An old version that stays is no reason to fail.
                with io.scratch_folder(folder.parent, "pruned") as trash:
                    with contextlib.suppress(OSError):
                        os.rename(path, trash / path.name)
                        pruned.append(version)
    return tuple(pruned)


_GPU_MANIFEST = "kubernetes/gpu.yaml"
# The files beside the models, by their paths, and the templates that they are made of.
_FILES = {
    "batching_params.pbtxt": "batching_params.pbtxt",
    "models.config": "models.config",
    "monitoring.config": "monitoring.config",
    "docker-compose.yml": "docker-compose.yml",
    "kubernetes/cpu.yaml": "kubernetes.yaml",
    _GPU_MANIFEST: "kubernetes.yaml",
    "kubernetes/copy.yaml": "copy.yaml",
    "README.md": "README.md",
}


def _configure(repository: pathlib.Path) -> None:
    """Writes the files that make servers of the models that are there."""
    found = models(repository)
    values = {
        "mark": MARK,
        "name": next(iter(found)),
        "release": IMAGE.partition(":")[2],
        "largest_batch": BATCH_SIZES[-1],
        "batch_sizes": "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES),
        "configs": "".join(_template("model.config", name=name) for name in found),
        "sections": "\n".join(_section(name, folder) for name, folder in found.items()),
    }
    for path, template in _FILES.items():
        gpu = path == _GPU_MANIFEST
        own = {
            "image": f"{IMAGE}-gpu" if gpu else IMAGE,
            "memory": "8Gi" if gpu else "2Gi",
            "resource": ", nvidia.com/gpu: 1" if gpu else "",
        }
        _write(repository / path, _template(template, **values, **own))


def _template(file: str, **values) -> str:
    text = (
        importlib.resources.files("export.serving").joinpath("templates", file).read_text("utf-8")
    )
    return string.Template(text).substitute(values)


def _write(path: pathlib.Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        old = path.read_text("utf-8", errors="replace")
        if MARK not in old or old == text:
            return
    with io.atomic_write(path) as temporary:
        temporary.write_text(text, "utf-8")


def _section(name: str, folder: pathlib.Path) -> str:
    """Returns the README's section on a model: its signatures, and calls to copy."""
    found = meta_graph.read_signatures(folder / str(versions(folder)[-1]))
    rows = ["| signature | inputs | outputs |", "|---|---|---|"]
    calls = []
    for key, item in found.items():
        cells = [
            "<br>".join(f"`{k}` {i.dtype} {_shape(i.shape)}" for k, i in infos.items())
            for infos in (item.inputs, item.outputs)
        ]
        rows.append(f"| `{key}` | {cells[0]} | {cells[1]} |")
        example = _example(item)
        if example is not None:
            body = json.dumps({"signature_name": key, "inputs": example})
            calls.append(
                f"```sh\ncurl http://localhost:8501/v1/models/{name}:predict \\\n"
                f"    -d '{body}'\n```\n"
            )
    chosen = "generate" if "generate" in found else DECODE
    example = _example(found[chosen]) or {}
    fill = [
        f'request.inputs["{key}"].CopyFrom(tf.make_tensor_proto({value}, '
        f'"{found[chosen].inputs[key].dtype}"))'
        for key, value in example.items()
    ]
    known = {key: specified_input(key) for key in example}
    required = {key: example[key] for key, item in known.items() if item and not item.optional}
    arguments = ", ".join(f"{key}={value}" for key, value in required.items())
    method = "generate" if chosen == "generate" else "decode"
    return _template(
        "section.md",
        name=name,
        table="\n".join(rows),
        calls="\n".join(calls),
        python=f"print(client.{method}({arguments}))",
        signature=chosen,
        fill="\n".join(fill),
    )


def _shape(shape) -> str:
    return (
        "[" + ", ".join("batch" if i == 0 else str(n or "any") for i, n in enumerate(shape)) + "]"
    )


def _example(signature) -> dict | None:
    """Two rows of valid inputs, where they are few enough to be typed."""
    example = {}
    for key, info in signature.inputs.items():
        shape = [2, *(size or 2 for size in info.shape[1:])]
        if info.dtype not in _TYPED or math.prod(shape) > _LARGEST_LITERAL:
            return None
        known = specified_input(key)
        value = None if known is None else known.example
        if value is None:  # Any number will do.
            value = 0.5 if info.dtype == "float32" else 0
        example[key] = np.full(shape, value, info.dtype).tolist()
        if key == "seed":
            example[key] = [1, 2]
    return example


FORMATS.add(
    "repository",
    Format(
        "model repository",
        publish,
        "repository",
        ("name", "keep", "verify", "preprocessing", "fit"),
        verified=False,  # `publish` does it itself.
    ),
)
