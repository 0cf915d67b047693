"""`kvae sweep ARCHITECTURE`."""

from kvae.cli import checks, common
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils import io, optional


def add_arguments(parser) -> None:
    parser.add_argument(
        "architecture",
        type=checks.named("architecture"),
        help="An architecture of the zoo, e.g. dense_vae.",
    )
    own.add_data(parser, default="digits")
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
        default=128,
        help="Use this many examples in each step.",
    )
    common.add_limit(parser)
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
    """
    optional.require("keras_tuner", purpose="A sweep")
    common.quiet_tensorflow()
    import tensorflow as tf

    import zoo
    from kvae import datasets, training
    from zoo.building import ARCHITECTURES
    from zoo.training import default_binarize

    name, dataset = arguments.architecture, arguments.dataset or "digits"
    ARCHITECTURES[name]  # Refuses an unknown name.
    # Many models in one process: each traces its functions anew, of which TensorFlow warns.
    tf.get_logger().setLevel("ERROR")
    binarize = None if arguments.binarize == "none" else arguments.binarize
    if arguments.binarize is None:
        facts = datasets.info(dataset)
        settings = {"event_shape": facts.event_shape}
        binarize = default_binarize(name, settings, facts.dtype == "uint8")
    train, validation = (
        datasets.load(dataset, split, binarize=binarize, seed=arguments.seed)
        for split in ("train", "validation")
    )
    if arguments.limit:
        train, validation = train[: arguments.limit], validation[: arguments.limit]
    folder = io.writable_folder(arguments.output or f"sweeps/{name}.{dataset}")
    pairs = len(set(arguments.beta)) * len(set(arguments.latent_dim))
    with common.progress("trials", arguments.trials or pairs) as update:
        result = training.sweep(
            lambda **settings: zoo.build(name, event_shape=train.event_shape, **settings),
            arguments.beta,
            arguments.latent_dim,
            train,
            validation,
            epochs=arguments.epochs,
            folder=folder,
            search=arguments.search,
            trials=arguments.trials,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            progress=update,
        )
    facts = {"title": result.title, "note": result.note} if arguments.json else None
    common.show(result, folder, facts)
    return 0
