"""`kvae sample MODEL`."""

import pathlib

from kvae.cli import common
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument("-n", type=common.positive, default=100, help="how many (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--temperature", type=common.number_from_0, default=1.0, help="scales the prior's noise"
    )
    parser.add_argument(
        "--label",
        type=int,
        help="class, of a conditional model (default for a picture: a row for each)",
    )
    parser.add_argument("--kind", default="mean", choices=("mean", "mode", "sample"))
    common.add_sampler(parser)
    parser.add_argument("--dataset", help="that --sampler fits; default: the card's, or digits")
    parser.add_argument("--binarize", choices=("none", "static", "dynamic"))
    parser.add_argument(
        "--save", metavar="FILE.keras", help="keep the model with the prior that --sampler fits"
    )
    parser.add_argument(
        "-o", "--output", default="samples.png", help="a .png picture or a .npy array"
    )
    common.add_json(parser)


def run(arguments) -> int:
    output = pathlib.Path(arguments.output)
    if output.suffix not in (".png", ".npy"):
        raise ValueError(f"--output ends in .png or .npy, not {output.name!r}.")
    if arguments.save and not arguments.save.endswith(".keras"):
        raise ValueError(f"--save ends in .keras, not {arguments.save!r}.")
    model = common.load_sampling_model(arguments)
    import numpy as np

    from kvae import plots
    from kvae.utils import io

    options = {"seed": arguments.seed, "temperature": arguments.temperature}
    if arguments.label is not None:
        options["label"] = arguments.label
    elif output.suffix == ".npy" and model.conditional:
        raise common.label_missing(model, arguments.model)
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
