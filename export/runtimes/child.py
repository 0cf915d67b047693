"""Runs a runtime in a process of its own, so that a crash or a hang ends nothing else.

A request is a folder: `request.json` (`{"path", "calls": [{"signature", ...}]}`) and, for call
number i, its inputs as `i.inputs.npz`. The process answers with `response.json` and
`i.outputs.npz`. Arrays travel as plain `.npz`, never pickled.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from export.signatures import Call
from kvae.utils import io

__all__ = ["Answer", "Result", "request", "serve"]

_PREFIX = "array "  # `savez` has argument names of its own, which an output may also have.


@dataclasses.dataclass
class Result:
    """The answer to one call: its `outputs`, or an `error` in one line."""

    outputs: dict[str, np.ndarray]
    error: str = ""


@dataclasses.dataclass
class Answer:
    """The answer of a process.

    Attributes:
        results: list of `Result`, one per call, empty when the file could not be loaded.
        facts: dict. What the runtime says about the file (`"runtime"`, …).
        load_error: str. Why the file could not be loaded.
        failure: str. How the process ended when it did not answer (signal, time-out).
    """

    results: list[Result]
    facts: dict
    load_error: str = ""
    failure: str = ""


def request(module: str, path: str | os.PathLike, calls: Sequence[Call], timeout: float) -> Answer:
    """Runs `calls` on the file at `path` in a new process of `python -m module`.

    Args:
        module: str. A module of this package whose main function is `serve`.
        path: str or path. The file or folder to load.
        calls: list of `Call`.
        timeout: float. Seconds after which the process is ended.

    Returns:
        An `Answer`. Crashes and time-outs of the process are in it and are not raised.
    """
    with (
        io.disk_errors(tempfile.gettempdir(), "nothing was run"),
        io.utf8_path(pathlib.Path(path).resolve()) as path,
        tempfile.TemporaryDirectory(prefix="kvae-request-") as name,
    ):
        folder = pathlib.Path(name)
        content = {
            "path": str(path),
            "calls": [{"signature": call.signature} for call in calls],
        }
        (folder / "request.json").write_text(json.dumps(content))
        for index, call in enumerate(calls):
            _write(folder / f"{index}.inputs.npz", call.inputs)
        failure = _run(module, folder, timeout)
        if failure:
            return Answer([], {}, failure=failure)
        response = json.loads((folder / "response.json").read_text())
        results = []
        for index, error in enumerate(response["errors"]):
            results.append(Result(_read(folder / f"{index}.outputs.npz", not error), error))
        return Answer(results, response["facts"], load_error=response["load_error"])


def _read(path: pathlib.Path, present: bool) -> dict[str, np.ndarray]:
    if not present:
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {name.removeprefix(_PREFIX): array for name, array in arrays.items()}


def _write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, **{_PREFIX + name: array for name, array in arrays.items()})


def _run(module: str, folder: pathlib.Path, timeout: float) -> str:
    """Runs the process; returns how it failed, or nothing."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        # The answer holds the errors, which the runtime's log would only repeat.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(folder)],
            # Python puts the working folder first on its path, so it is one without modules.
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:g} s; the process was ended (raise `timeout`)"
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        return f"the process crashed ({name})"
    if done.returncode or not (folder / "response.json").is_file():
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return f"the process ended with status {done.returncode}: {lines[-1] if lines else ''}"
    return ""


def serve(arguments: Sequence[str], load: Callable) -> int:
    """Answers the request in the folder named by `arguments`: the child's main function.

    Args:
        arguments: list of str. One folder.
        load: callable. Takes the file's path; returns a function `(signature, inputs) -> outputs`
            and a dict of facts about the file.

    Returns:
        int: the exit status.
    """
    if len(arguments) != 1:
        print("Give one argument: the folder of the request.", file=sys.stderr)
        return 2
    folder = pathlib.Path(arguments[0])
    content = json.loads((folder / "request.json").read_text())
    response = {"facts": {}, "errors": [], "load_error": ""}
    try:
        run, response["facts"] = load(pathlib.Path(content["path"]))
    except Exception as error:  # Whatever the runtime raises is the answer.
        response["load_error"] = _line(error)
    else:
        for index, call in enumerate(content["calls"]):
            inputs = _read(folder / f"{index}.inputs.npz", True)
            try:
                _write(folder / f"{index}.outputs.npz", run(call["signature"], inputs))
            except Exception as error:
                response["errors"].append(_line(error))
            else:
                response["errors"].append("")
    response["facts"]["tensorflow_imported"] = "tensorflow" in sys.modules
    (folder / "response.json").write_text(json.dumps(response))
    return 0


def _line(error: Exception) -> str:
    """Returns an error in one line; below it, the runtime's own list the nodes of a graph."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:500]
