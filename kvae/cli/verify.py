"""`kvae verify PATH`."""

from kvae.cli import common
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument("path", help="a SavedModel folder, or a .tflite or .onnx file")
    parser.add_argument(
        "--model", help="zoo name or .keras file to compare with (default: only run the file)"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="TFLite: on LiteRT's GPU accelerator (needs Vulkan)"
    )
    common.add_json(parser)


def run(arguments) -> int:
    common.quiet_tensorflow()
    import export

    model = common.load_model(arguments.model) if arguments.model else None
    accelerator = "gpu" if arguments.gpu else "cpu"
    report = export.verify(arguments.path, model, accelerator=accelerator)
    if arguments.json:
        common.print_json(report.to_dict())
    else:
        say(report)
    return 0 if report.ok else 1
