"""`python -m export.serving.development FOLDER` serves what is in a folder."""

import argparse
import os
import sys

from export.serving.development.run import NOTICE, run
from export.serving.limits import Limits
from export.serving.repository import find_models


def main(arguments: list[str] | None = None) -> int:
    """Serves until the process is interrupted; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.serving.development", description=NOTICE
    )
    parser.add_argument("path")
    parser.add_argument("--name")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--max-bytes", type=int, default=64 << 20)
    parser.add_argument("--no-batching", action="store_true")
    values = parser.parse_args(arguments)
    limits = Limits(values.timeout, values.max_bytes)
    return run(
        find_models(values.path, values.name),
        port=values.port,
        grpc_port=values.grpc_port,
        limits=limits,
        batching=not values.no_batching,
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
