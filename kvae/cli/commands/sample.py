"""`kvae sample MODEL`."""

import pathlib

from kvae.cli import checks, common, files, labels, rows
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument(
        "-n",
        "--rows",
        dest="n",
        metavar="N",
        type=common.positive,
        default=100,
        help="Make this many samples.",
    )
    common.add_seed(parser, default=0)
    parser.add_argument(
        "--temperature",
        type=common.number_from_0,
        default=1.0,
        help="Multiply the prior's noise by this number.",
    )
    labels.add_label(
        parser,
        "a row of each class in a picture, all in turn in a table, or nothing known",
        "Sample this class of a conditional model, by its name or number.",
    )
    parser.add_argument(
        "--given",
        nargs="+",
        type=rows.values,
        metavar="NAME=VALUE",
        default=Unset("all columns are drawn"),
        help="Draw rows of a table that have these values, e.g. age=40,job=clerk, by importance "
        "resampling.",
    )
    parser.add_argument(
        "--samples",
        type=common.positive,
        default=Unset("10000"),
        help="Weigh this many latents for --given.",
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
    files.add_output(
        parser,
        "Write a .png picture, a .npy array, or the rows of a table as a .csv file.",
        "samples.png, or samples.csv for tables",
    )
    common.add_json(parser)


@command(
    "sample",
    add_arguments,
    "kvae sample conv_vae.mnist -n 64 --output digits.png",
    "kvae sample dense_autoencoder.digits --sampler gmm --save sampling.keras",
    "kvae sample runs/sprites/model.keras --label shape=heart,scale=0.8 -n 16",
    "kvae sample runs/people/model.keras --rows 1000 --output people.csv",
    "kvae sample runs/people/model.keras --given age=40,job=clerk --output clerks.csv",
)
def run(arguments) -> int:
    """Generates data from the prior, or from a density fitted to the codes.

    Models without a prior, such as autoencoders, need --sampler.
    """
    output = None if arguments.output is None else pathlib.Path(arguments.output)
    if output is not None and output.suffix not in (".png", ".npy", ".csv"):
        raise ValueError(f"--output ends in .png, .npy or .csv, not {output.name!r}.")
    files.check_endings(arguments, save=".keras")
    if arguments.samples is not None and arguments.given is None:
        raise ValueError("--samples belongs to --given: give that, too.")
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
    if arguments.given is not None:
        _check_given(arguments, output)
    options = {"seed": arguments.seed, "temperature": arguments.temperature}
    label = labels.label_of(model, arguments.label, arguments.model)
    if label is not None:
        options["label"] = label
    elif model.conditional and (output.suffix == ".npy" or arguments.given is not None):
        raise labels.label_missing(model, arguments.model)
    size = None
    if arguments.given is not None:
        del options["temperature"]
        size = rows.write_given(model, output, arguments, options)
    elif output.suffix == ".npy":
        values = np.asarray(model.sample(arguments.n, output=kind, **options))
        with io.atomic_write(output) as temporary:
            np.save(temporary, values, allow_pickle=False)
    elif output.suffix == ".csv":
        rows.write_rows(model, output, arguments.n, kind, options)
    else:
        title = f"Samples, {arguments.sampler}" if arguments.sampler else "Prior samples"
        plots.samples(model, arguments.n, path=output, output=kind, title=title, **options)
    if arguments.save:
        with io.atomic_write(arguments.save) as temporary:
            model.save(temporary)
    if arguments.json:
        facts = {"path": str(output), "n": arguments.n, "seed": arguments.seed}
        common.print_json(facts if size is None else {**facts, "effective_sample_size": size})
    else:
        say(f"wrote {output}")
        if size is not None:
            say(f"effective sample size: {size:.1f} latents carry the weight")
        if arguments.save:
            say(f"wrote {arguments.save}")
    return 0


def _check_given(arguments, output: pathlib.Path) -> None:
    """Checks what goes with --given."""
    if output.suffix != ".csv":
        raise ValueError(
            f"--given is for rows of a table: give --output a .csv file, not {output}."
        )
    if arguments.kind not in (None, "sample") or arguments.temperature != 1.0:
        raise ValueError(
            "--given draws rows as the model says: leave --mean, --mode and --temperature."
        )
    named = [name for part in arguments.given for name in part]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--given has two values of {twice}: give one.")
