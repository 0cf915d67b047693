"""`kvae verify PATH`."""

import argparse

from kvae.cli import checks, common
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.terminal import say

_ROWS = 300  # Examples at most.


def add_arguments(parser) -> None:
    parser.add_argument(
        "path", type=checks.existing, help="A SavedModel folder, or a .tflite or .onnx file."
    )
    parser.add_argument(
        "--model",
        type=checks.model,
        default=Unset("none, so the file is only run"),
        help="Compare with this model, a zoo name or a .keras file.",
    )
    common.add_import(parser)
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=checks.data,
        default=Unset("made ones"),
        help="Call the signatures with test examples at this path, as of `kvae train --data`, in "
        "place of made ones. This needs --model.",
    )
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="Run a TFLite file on LiteRT's GPU accelerator, which needs Vulkan.",
    )
    common.add_json(parser)


@command(
    "verify",
    add_arguments,
    "kvae verify serving/mnist/1 --model conv_vae.mnist",
    "kvae verify photos.tflite --model runs/photos/model.keras --data photos",
    "kvae verify mnist.tflite",
)
def run(arguments) -> int:
    """Runs an exported file in another runtime and compares its numbers with the model's.

    The exit status is 1 where they differ.
    """
    if arguments.data is not None and arguments.model is None:
        raise ValueError("--data is for the comparison with a model: give --model, too.")
    common.quiet_tensorflow()
    import export

    model = common.load_model(arguments.model) if arguments.model else None
    accelerator = "gpu" if arguments.gpu else "cpu"
    data = None
    if arguments.data is not None:
        chosen = argparse.Namespace(data=arguments.data, dataset=None)
        data = own.load_data(model, arguments.model, chosen)[:_ROWS]
    report = export.verify(arguments.path, model, accelerator=accelerator, data=data)
    if arguments.json:
        common.print_json(report.to_dict())
    else:
        say(report)
    return 0 if report.ok else 1
