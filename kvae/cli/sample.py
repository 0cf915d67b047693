"""`kvae sample MODEL`."""

import pathlib

from kvae.cli import common


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument("-n", type=common.positive, default=100, help="how many (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0, help="scales the prior's noise")
    parser.add_argument(
        "--label",
        type=int,
        help="class, of a conditional model (default for a picture: a row for each)",
    )
    parser.add_argument("--kind", default="mean", choices=("mean", "mode", "sample"))
    parser.add_argument(
        "-o", "--output", default="samples.png", help="a .png picture or a .npy array"
    )
    common.add_json(parser)


def run(arguments) -> int:
    output = pathlib.Path(arguments.output)
    if output.suffix not in (".png", ".npy"):
        raise ValueError(f"--output ends in .png or .npy, not {output.name!r}.")
    model = common.load_model(arguments.model)
    import numpy as np

    from kvae import io, plots

    options = {"seed": arguments.seed, "temperature": arguments.temperature}
    if arguments.label is not None:
        options["label"] = arguments.label
    elif output.suffix == ".npy" and model.conditional:
        raise ValueError(
            f"{arguments.model} is conditional: give --label, from 0 to {model.num_classes - 1}."
        )
    if output.suffix == ".npy":
        values = np.asarray(model.sample(arguments.n, output=arguments.kind, **options))
        with io.atomic_write(output) as temporary:
            np.save(temporary, values, allow_pickle=False)
    else:
        plots.samples(model, arguments.n, output=arguments.kind, path=output, **options)
    if arguments.json:
        common.print_json({"path": str(output), "n": arguments.n, "seed": arguments.seed})
    else:
        print(f"wrote {output}")
    return 0
