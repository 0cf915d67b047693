"""`kvae export MODEL`."""

from kvae.cli import common
from kvae.cli.command import command
from kvae.utils.terminal import say

_FORMATS = ("saved_model", "repository", "tflite", "onnx", "web")
_ROWS = 300  # Images for calibration, and as many for the report.
# Options that some formats have no use for: what they are by default, and the formats that have.
_OPTIONS = {
    "name": (None, ("repository",)),
    "keep": (None, ("repository",)),
    "version": (None, ("saved_model",)),
    "preprocessing": (None, ("saved_model", "repository")),
    "fit": ("stretch", ("saved_model", "repository")),
    "precision": ("float32", ("tflite", "web")),
    "batch_size": (1, ("tflite",)),
    "parts": ("decoder", ("tflite", "onnx")),
    "calibrate": (None, ("tflite",)),
    "dataset": (None, ("web", "tflite")),
}


def add_arguments(parser) -> None:
    parser.intermixed = True  # kvae export MODEL --format tflite PATH
    common.add_model(parser)
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="PATH",
        help="Where to write. This is the same as --output.",
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=_FORMATS,
        default="saved_model",
        help="What to write (default: saved_model). A repository is a folder that TensorFlow "
        "Serving runs as it is; web is a page for the browser.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="Where to write (default: serving/MODEL for a SavedModel, repository for a "
        "repository, MODEL.tflite, MODEL.onnx, page/MODEL for the web).",
    )
    parser.add_argument(
        "--name",
        help="Call the model by this name in the repository (default: MODEL). For repositories.",
    )
    parser.add_argument(
        "--keep",
        metavar="N",
        type=common.positive,
        help="Remove all but the newest N versions. For repositories.",
    )
    parser.add_argument(
        "--version",
        type=common.positive,
        help="Write this version (default: the next one). For SavedModels.",
    )
    parser.add_argument(
        "--preprocessing",
        choices=("float32", "uint8", "png"),
        help="Take images from clients in this form (default: float32); png takes PNG and JPEG "
        "files. For SavedModels and repositories.",
    )
    parser.add_argument(
        "--fit",
        choices=("stretch", "crop"),
        default="stretch",
        help="Bring image files to the model's size in this way (default: stretch). For "
        "--preprocessing png.",
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "float16", "dynamic", "int8"),
        help="Store weights in this precision (default: float32). For TFLite files and pages.",
    )
    parser.add_argument(
        "--batch-size",
        type=common.positive,
        default=1,
        help="Fix the number of rows of a call (default: 1). For TFLite files.",
    )
    parser.add_argument(
        "--parts",
        choices=("decoder", "encoder", "both"),
        default="decoder",
        help="Write these networks (default: decoder). For TFLite and ONNX files.",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DATASET",
        help="Set the ranges of int8 by images of this data set (default: the zoo model's own, or "
        "samples of the prior). For TFLite files.",
    )
    parser.add_argument(
        "--dataset",
        help="Show images of this data set on the page, or measure the TFLite file with them "
        "(default: the model's own).",
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="Do not run what was written to check its numbers."
    )
    common.add_json(parser)


@command(
    "export",
    add_arguments,
    "kvae export conv_vae.mnist --output serving/mnist",
    "kvae export conv_vae.mnist --format tflite mnist.tflite --precision float16",
    "kvae export model.keras --format repository models --preprocessing png --keep 3",
)
def run(arguments) -> int:
    """Writes a model for TensorFlow Serving, phones or browsers, and checks its numbers.

    What was written runs in another runtime, and its numbers are compared with the model's own. The
    exit status is 1 where they differ.
    """
    if arguments.output and arguments.directory:
        raise ValueError("Give the path once: after the model, or with --output.")
    for option, (default, formats) in _OPTIONS.items():
        if getattr(arguments, option) != default and arguments.format not in formats:
            raise ValueError(
                f"--{option.replace('_', '-')} is for --format {' or '.join(formats)}, not "
                f"{arguments.format}: leave it out, or choose another format."
            )
    if arguments.format == "onnx" and arguments.parts == "both":
        raise ValueError("An ONNX file holds one part: --parts decoder or --parts encoder.")
    if arguments.format == "web" and arguments.precision not in ("float32", "float16"):
        raise ValueError("A page computes in float32 or float16: choose one with --precision.")
    model = common.load_model(arguments.model)
    import export

    stem = arguments.model.rsplit("/", 1)[-1].removesuffix(".keras")
    output = arguments.output or arguments.directory
    if arguments.format == "repository":
        return _publish(arguments, model, output or "repository", arguments.name or stem)
    if arguments.format == "web":
        return _page(arguments, model, output or f"page/{stem}")
    if arguments.format == "saved_model":
        path = export.saved_model(
            model,
            output or f"serving/{stem}",
            version=arguments.version,
            preprocessing=arguments.preprocessing,
            fit=arguments.fit,
        )
    elif arguments.format == "onnx":
        card = common.card_of(arguments.model)
        path = export.onnx(model, output or f"{stem}.onnx", part=arguments.parts, card=card)
    else:
        path = _tflite(arguments, model, output or f"{stem}.tflite")
    reports = {}
    if not arguments.no_verify:
        reports["verification"] = export.verify(path, model)
        if arguments.format == "tflite" and arguments.parts != "encoder":
            data = _images(arguments, model, "test")
            if data is not None or model.prior is not None:
                reports["profile"] = export.profile(path, model, data)
    if arguments.json:
        found = {name: report.to_dict() for name, report in reports.items()}
        common.print_json({"path": str(path), "verification": None, **found})
    else:
        say(f"wrote {path}")
        for report in reports.values():
            say(report)
    return 0 if all(report.ok for report in reports.values()) else 1


def _tflite(arguments, model, path: str):
    import export

    calibration = None
    if arguments.precision == "int8":
        calibration = _images(arguments, model, "train")
    return export.tflite(
        model,
        path,
        precision=arguments.precision,
        batch_size=arguments.batch_size,
        calibration=calibration,
        parts=arguments.parts,
        card=common.card_of(arguments.model),
    )


def _images(arguments, model, split: str):
    """A few hundred images of the named data, or of the zoo model's own; `None` without any."""
    from kvae import datasets

    if arguments.calibrate:
        return datasets.load(arguments.calibrate, split)[:_ROWS]
    if common.card_of(arguments.model) is None:
        return None
    try:
        return common.load_data(model, arguments.model, arguments, split)[:_ROWS]
    except FileNotFoundError:  # Of a dataset that is not on this machine.
        return None


def _publish(arguments, model, repository: str, name: str) -> int:
    import export

    done = export.publish(
        model,
        repository,
        name,
        keep=arguments.keep,
        verify=not arguments.no_verify,
        preprocessing=arguments.preprocessing,
        fit=arguments.fit,
    )
    if arguments.json:
        common.print_json(
            {
                "path": str(done.path),
                "name": name,
                "version": done.version,
                "pruned": list(done.pruned),
                "verification": None if done.report is None else done.report.to_dict(),
            }
        )
        return 0
    say(f"published {done.path}")
    if done.pruned:
        say(f"removed version {', '.join(map(str, done.pruned))}")
    if done.report is not None:
        say(done.report)
    say(f"{repository}/README.md says how to serve it; `kvae serve {repository}` does it here")
    return 0


def _page(arguments, model, folder: str) -> int:
    import export

    data = common.load_data(model, arguments.model, arguments)
    path = export.web(model, folder, data, title=arguments.model, precision=arguments.precision)
    if arguments.json:
        common.print_json({"path": str(path), "verification": None})
        return 0
    say(f"wrote {path}")
    server = f"python -m http.server --bind 127.0.0.1 --directory {path.parent}"
    say(f"{server} shows it at http://localhost:8000")
    return 0
