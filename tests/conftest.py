"""Shared by all tests: the backend, and Python in a process of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def run_python():
    """Runs code in a new interpreter: `run_python(code, *arguments)` -> the finished process."""

    def run(code, *arguments, check=True):
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        finished = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check and finished.returncode != 0:
            raise AssertionError(f"exit status {finished.returncode}:\n{finished.stderr[-4000:]}")
        return finished

    return run
