"""`kvae export MODEL`."""

import argparse
import pathlib

from kvae.cli import checks, common
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.register import import_modules
from kvae.utils.terminal import say

_ROWS = 300  # Examples for calibration, and as many for the report.
# For each option its default, and the arguments of a format's writer that it fills in.
_OPTIONS = {
    "name": (None, ("name",)),
    "keep": (None, ("keep",)),
    "version": (None, ("version",)),
    "preprocessing": (None, ("preprocessing",)),
    "fit": ("stretch", ("fit",)),
    "precision": ("float32", ("precision",)),
    "batch_size": (1, ("batch_size",)),
    "parts": ("decoder", ("parts", "part")),
    "num_samples": (64, ("num_samples",)),
    "calibrate": (None, ("calibration",)),
    "dataset": (None, ("data", "calibration")),
    "data": (None, ("data", "calibration")),
}


def _formats():
    """Returns the register of formats, with all that register themselves."""
    from export.writers.register import FORMATS

    import_modules("export.writers")
    import_modules("export.serving")
    return FORMATS


def add_arguments(parser) -> None:
    from export.signatures import PREPROCESSING
    from export.writers.tflite.writer import PARTS, PRECISIONS

    formats = _formats()
    outputs = [f"{item.output.format(name='MODEL')} ({item.title})" for item in formats.values()]
    parser.intermixed = True  # kvae export MODEL --format tflite PATH
    common.add_model(parser)
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="PATH",
        type=checks.output,
        help="The file or folder to write. This is the same as --output.",
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=tuple(formats),
        default="saved_model",
        help="What to write. A repository is a folder that TensorFlow "
        "Serving runs as it is; web is a page for the browser.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        type=checks.output,
        default=Unset(", ".join(outputs)),
        help="Write into this file or folder.",
    )
    parser.add_argument(
        "--name",
        default=Unset("that of MODEL"),
        help="Call the model by this name in the repository. For repositories.",
    )
    parser.add_argument(
        "--keep",
        metavar="N",
        type=common.positive,
        default=Unset("all are kept"),
        help="Remove all but the newest N versions. For repositories.",
    )
    parser.add_argument(
        "--version",
        type=common.positive,
        default=Unset("the next one"),
        help="Write this version. For SavedModels.",
    )
    parser.add_argument(
        "--preprocessing",
        choices=PREPROCESSING,
        default=Unset(PREPROCESSING[0]),
        help="Take images from clients in this form; png takes PNG and JPEG "
        "files. For SavedModels and repositories.",
    )
    parser.add_argument(
        "--fit",
        choices=("stretch", "crop"),
        default="stretch",
        help="Bring image files to the model's size in this way. For --preprocessing png.",
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=tuple(PRECISIONS),
        help="Store weights in this precision. For TFLite files and pages.",
    )
    parser.add_argument(
        "--batch-size",
        type=common.positive,
        default=1,
        help="Fix the number of rows of a call. For TFLite files.",
    )
    parser.add_argument(
        "--parts",
        choices=tuple(PARTS),
        default="decoder",
        help="Write these networks; impute, detect, classify and translate are those functions of "
        "the model. "
        "For TFLite and ONNX files.",
    )
    parser.add_argument(
        "--num-samples",
        metavar="N",
        type=common.positive,
        default=64,
        help="Fix the number of importance samples of --parts impute. For TFLite and ONNX files.",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DATA",
        type=checks.named_or_data,
        default=Unset("that of --dataset or --data or of the zoo's model, or samples of the prior"),
        help="Set the ranges of int8 by examples of this data set or at this path. For TFLite "
        "files.",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        type=checks.dataset,
        default=Unset("the model's own"),
        help="Show examples of this data set on the page, or measure the TFLite file with them.",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=checks.data,
        default=Unset("the data set"),
        help="Use examples at this path, as of `kvae train --data`, in place of a data set's.",
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
    "kvae export runs/photos/model.keras --format tflite --precision int8 --calibrate photos",
    "kvae export model.keras --format repository models --preprocessing png --keep 3",
)
def run(arguments) -> int:
    """Writes a model for TensorFlow Serving, phones or browsers, and checks its numbers.

    What was written runs in another runtime, and its numbers are compared with the model's own. The
    exit status is 1 where they differ.
    """
    if arguments.output and arguments.directory:
        raise ValueError("Give the path once: after the model, or with --output.")
    formats = _formats()
    chosen = formats[arguments.format]
    _check(arguments, formats)
    if chosen.require is not None:
        chosen.require()
    model = common.load_model(arguments.model)
    import export

    name = common.stem(arguments.model)
    output = arguments.output or arguments.directory or chosen.output.format(name=name)
    options = {key: _argument(key, arguments, model) for key in chosen.options}
    written = chosen.write(model, output, **options)
    if isinstance(written, export.Publication):
        return _published(arguments, written, output, options["name"])

    reports = {}
    if chosen.verified and not arguments.no_verify:
        reports["verification"] = export.verify(written, model)
        one_kind = not model.modalities  # The profile is that of images.
        if chosen.measured and one_kind and arguments.parts in ("decoder", "both", "all"):
            data = _images(arguments, model, "test")
            if data is not None or model.prior is not None:
                reports["profile"] = export.profile(written, model, data)
    if arguments.json:
        found = {key: report.to_dict() for key, report in reports.items()}
        common.print_json({"path": str(written), "verification": None, **found})
    else:
        say(f"wrote {written}")
        for report in reports.values():
            say(report)
        if chosen.advice:
            say(chosen.advice.format(folder=pathlib.Path(written).parent))
    return 0 if all(report.ok for report in reports.values()) else 1


def _check(arguments, formats) -> None:
    """Raises a ValueError for an option that the chosen format has no use for."""
    chosen = formats[arguments.format]
    for option, (default, keys) in _OPTIONS.items():
        value, flag = getattr(arguments, option), f"--{option.replace('_', '-')}"
        taking = [name for name, item in formats.items() if set(keys) & set(item.options)]
        if value != default and arguments.format not in taking:
            raise ValueError(
                f"{flag} is for --format {' or '.join(taking)}, not {arguments.format}: leave it "
                "out, or choose another format."
            )
        for key in keys:
            if value not in chosen.values.get(key, (value,)):
                allowed = " or ".join(f"{flag} {each}" for each in chosen.values[key])
                raise ValueError(f"--format {arguments.format} takes {allowed}, not {value}.")


def _argument(key: str, arguments, model):
    """Returns the argument of a writer that the command line gives."""
    if key == "calibration":
        return _images(arguments, model, "train") if arguments.precision == "int8" else None
    if key == "data":
        if model.modalities:  # Which the page refuses, whatever the data are.
            return None
        return own.load_data(model, arguments.model, arguments)
    if key == "card":
        return common.card_of(arguments.model)
    if key == "title":
        return arguments.model
    if key == "name":
        return arguments.name or common.stem(arguments.model)
    if key == "verify":
        return not arguments.no_verify
    return getattr(arguments, "parts" if key == "part" else key)


def _images(arguments, model, split: str):
    """Returns some hundred examples of the data that are given, or the zoo model's; else `None`."""
    if arguments.calibrate and split == "train":
        from kvae import datasets

        named = arguments.calibrate in datasets.names()
        where = {"dataset" if named else "data": arguments.calibrate}
        chosen = argparse.Namespace(**{"dataset": None, "data": None, **where})
        return own.load_data(model, arguments.model, chosen, split)[:_ROWS]
    if not (arguments.data or arguments.dataset or common.card_of(arguments.model)):
        return None
    try:
        return own.load_data(model, arguments.model, arguments, split)[:_ROWS]
    except FileNotFoundError:
        if arguments.data:
            raise
        return None  # The data set is not on this machine.


def _published(arguments, done, repository: str, name: str) -> int:
    """Says what was published."""
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
