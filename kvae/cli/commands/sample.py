"""`kvae sample MODEL`."""

import pathlib

from kvae.cli import checks, common
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument("-n", type=common.positive, default=100, help="Make this many samples.")
    common.add_seed(parser, default=0)
    parser.add_argument(
        "--temperature",
        type=common.number_from_0,
        default=1.0,
        help="Multiply the prior's noise by this number.",
    )
    own.add_label(
        parser,
        "a row of each class in a picture, all in turn in a table",
        "Sample this class of a conditional model, by its name or number.",
    )
    what = parser.add_mutually_exclusive_group()
    for option, output, text in (
        ("--draw", "sample", "Draw x from p(x|z), with all its noise, as tables need it."),
        ("--mean", "mean", "Show the mean of p(x|z)."),
        ("--mode", "mode", "Show the mode of p(x|z), its most probable x."),
    ):
        what.add_argument(
            option,
            dest="kind",
            action="store_const",
            const=output,
            default=Unset("--draw for tables, --mean for others"),
            help=text,
        )
    own.add_sampler(parser)
    own.add_data(parser)
    parser.add_argument(
        "--save",
        metavar="FILE.keras",
        type=checks.output_file,
        default=Unset("no file"),
        help="Save the model with the prior that --sampler fits.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=checks.output_file,
        default=Unset("samples.png, or samples.csv for tables"),
        help="Write a .png picture, a .npy array, or the rows of a table as a .csv file.",
    )
    common.add_json(parser)


@command(
    "sample",
    add_arguments,
    "kvae sample conv_vae.mnist -n 64 --output digits.png",
    "kvae sample dense_autoencoder.digits --sampler gmm --save sampling.keras",
    "kvae sample runs/people/model.keras -n 1000 --output people.csv",
)
def run(arguments) -> int:
    """Generates data from the prior, or from a density fitted to the codes.

    Models without a prior, such as autoencoders, need --sampler.
    """
    output = None if arguments.output is None else pathlib.Path(arguments.output)
    if output is not None and output.suffix not in (".png", ".npy", ".csv"):
        raise ValueError(f"--output ends in .png, .npy or .csv, not {output.name!r}.")
    if arguments.save and not arguments.save.endswith(".keras"):
        raise ValueError(f"--save ends in .keras, not {arguments.save!r}.")
    model = own.load_sampling_model(arguments)
    import numpy as np

    from kvae import plots
    from kvae.utils import io

    table = len(model.event_shape) == 1
    kind = arguments.kind or ("sample" if table else "mean")
    output = output or pathlib.Path("samples.csv" if table else "samples.png")
    if output.suffix == ".csv" and not table:
        raise ValueError(
            f"A .csv file holds the rows of a table, and {arguments.model} makes examples of shape "
            f"{model.event_shape}: give --output a .png or .npy file."
        )
    options = {"seed": arguments.seed, "temperature": arguments.temperature}
    label = own.class_number(model, arguments.label, arguments.model)
    if label is not None:
        options["label"] = label
    elif output.suffix == ".npy" and model.conditional:
        raise own.label_missing(model, arguments.model)
    if output.suffix == ".npy":
        values = np.asarray(model.sample(arguments.n, output=kind, **options))
        with io.atomic_write(output) as temporary:
            np.save(temporary, values, allow_pickle=False)
    elif output.suffix == ".csv":
        own.write_rows(model, output, arguments.n, kind, options)
    else:
        title = f"Samples, {arguments.sampler}" if arguments.sampler else "Prior samples"
        plots.samples(model, arguments.n, path=output, output=kind, title=title, **options)
    if arguments.save:
        with io.atomic_write(arguments.save) as temporary:
            model.save(temporary)
    if arguments.json:
        common.print_json({"path": str(output), "n": arguments.n, "seed": arguments.seed})
    else:
        say(f"wrote {output}")
        if arguments.save:
            say(f"wrote {arguments.save}")
    return 0
