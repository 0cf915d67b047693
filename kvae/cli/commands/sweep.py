"""`kvae sweep ARCHITECTURE`."""

import dataclasses

from kvae.cli import architectures, checks, common, progress, stopping
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.cli.training_data import add_reading
from kvae.utils import io, optional


def add_arguments(parser) -> None:
    parser.add_argument(
        "architecture",
        type=checks.named("architecture"),
        help="An architecture of the zoo, e.g. dense_vae.",
    )
    own.add_data(parser, default="digits")
    add_reading(parser)
    architectures.add_networks(parser)
    parser.add_argument(
        "--beta",
        nargs="+",
        type=common.number_from_0,
        default=[0.25, 0.5, 1.0, 2.0, 4.0],
        help="Try these weights of the KL.",
    )
    parser.add_argument(
        "--latent-dim",
        metavar="SIZE",
        nargs="+",
        type=common.positive,
        default=[2, 8],
        help="Try these numbers of latent dimensions.",
    )
    parser.add_argument(
        "--search",
        choices=("grid", "random", "bayesian"),
        default="grid",
        help="Choose the pairs to try in this way.",
    )
    parser.add_argument(
        "--trials",
        type=common.positive,
        default=Unset("all"),
        help="Try at most this many pairs.",
    )
    parser.add_argument(
        "--epochs",
        type=common.positive,
        default=20,
        help="Train each model for this many epochs.",
    )
    parser.add_argument(
        "--batch-size",
        type=common.positive,
        default=Unset("16 to 128, the more the more examples there are"),
        help="Use this many examples in each step.",
    )
    common.add_limit(parser)
    common.add_import(parser)
    common.add_seed(parser, default=0)
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=checks.output_folder,
        default=Unset("sweeps/NAME"),
        help="Keep the sweep in this folder. The same command goes on from there.",
    )
    common.add_json(parser)


@command(
    "sweep",
    add_arguments,
    "kvae sweep dense_vae --dataset digits",
    "kvae sweep conv_vae --beta 0.5 1 2 --latent-dim 8 --epochs 5 --output sweeps/mine",
)
def run(arguments) -> int:
    """Trains a model for several values of β and sizes of z, and compares the results.

    The report is a table of rates and distortions, and a picture of the plane that they span.
    Ctrl-C and SIGTERM print the command that goes on after the last trial that was finished.
    """
    optional.require("keras_tuner", purpose="A sweep")
    common.quiet_tensorflow()
    import tensorflow as tf

    from kvae import training
    from zoo.building import build
    from zoo.training import data_of, identity

    # Many models in one process: each traces its functions anew, of which TensorFlow warns.
    tf.get_logger().setLevel("ERROR")
    sizes = {"latent_dim": arguments.latent_dim[0]}  # One that is in the search, to check the rest.
    changes = {"epochs": arguments.epochs, "seed": arguments.seed}
    if arguments.batch_size is not None:
        changes["batch_size"] = arguments.batch_size
    recipe = architectures.recipe_of(arguments, lambda settings: {**settings, **sizes}, changes)
    settings = {name: value for name, value in recipe.arguments.items() if name not in sizes}
    recipe = dataclasses.replace(recipe, arguments=settings)
    train, validation = (data_of(recipe, split) for split in ("train", "validation"))
    if arguments.limit:
        train, validation = train[: arguments.limit], validation[: arguments.limit]
    folder = io.writable_folder(arguments.output or f"sweeps/{recipe.name}")
    pairs = len(set(arguments.beta)) * len(set(arguments.latent_dim))
    facts = identity(recipe, arguments.limit)
    with (
        stopping.stoppable() as stop,
        progress.progress("trials", arguments.trials or pairs) as update,
    ):
        try:
            result = training.sweep(
                lambda **chosen: build(recipe.architecture, **settings, **chosen),
                arguments.beta,
                arguments.latent_dim,
                train,
                validation,
                epochs=arguments.epochs,
                folder=folder,
                search=arguments.search,
                trials=arguments.trials,
                batch_size=recipe.batch_size,
                seed=arguments.seed,
                progress=update,
                fingerprint=facts,
            )
        except KeyboardInterrupt:
            stopping.say_how_to_go_on(
                "stopped; the trials that were finished are kept. To go on:", arguments.argv
            )
            return stop.status
    facts = {"title": result.title, "note": result.note} if arguments.json else None
    common.show(result, folder, facts)
    return 0
