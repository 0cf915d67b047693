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
    parser.add_argument(
        "--label",
        type=int,
        default=Unset("a row of each class in a picture"),
        help="Sample this class of a conditional model.",
    )
    parser.add_argument(
        "--kind",
        default="mean",
        choices=("mean", "mode", "sample"),
        help="Show the mean or the mode of p(x|z), or draw from it.",
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
        default="samples.png",
        help="Write a .png picture or a .npy array.",
    )
    common.add_json(parser)


@command(
    "sample",
    add_arguments,
    "kvae sample conv_vae.mnist -n 64 --output digits.png",
    "kvae sample dense_autoencoder.digits --sampler gmm --save sampling.keras",
)
def run(arguments) -> int:
    """Generates data from the prior, or from a density fitted to the codes.

    Models without a prior, such as autoencoders, need --sampler.
    """
    output = pathlib.Path(arguments.output)
    if output.suffix not in (".png", ".npy"):
        raise ValueError(f"--output ends in .png or .npy, not {output.name!r}.")
    if arguments.save and not arguments.save.endswith(".keras"):
        raise ValueError(f"--save ends in .keras, not {arguments.save!r}.")
    model = own.load_sampling_model(arguments)
    import numpy as np

    from kvae import plots
    from kvae.utils import io

    options = {"seed": arguments.seed, "temperature": arguments.temperature}
    if arguments.label is not None:
        options["label"] = arguments.label
    elif output.suffix == ".npy" and model.conditional:
        raise own.label_missing(model, arguments.model)
    if output.suffix == ".npy":
        values = np.asarray(model.sample(arguments.n, output=arguments.kind, **options))
        with io.atomic_write(output) as temporary:
            np.save(temporary, values, allow_pickle=False)
    else:
        title = f"Samples, {arguments.sampler}" if arguments.sampler else "Prior samples"
        kind = {"output": arguments.kind, "title": title}
        plots.samples(model, arguments.n, path=output, **kind, **options)
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
