"""`kvae sweep ARCHITECTURE`."""

from kvae.cli import common
from kvae.utils import io


def add_arguments(parser) -> None:
    parser.add_argument("architecture", help="an architecture of the zoo, e.g. dense_vae")
    parser.add_argument("--dataset", default="digits", help="default digits")
    parser.add_argument("--binarize", choices=("none", "static", "dynamic"))
    parser.add_argument(
        "--beta",
        nargs="+",
        type=common.number_from_0,
        default=[0.25, 0.5, 1.0, 2.0, 4.0],
        help="weights of the KL (default 0.25 0.5 1 2 4)",
    )
    parser.add_argument(
        "--latent-dim", nargs="+", type=common.positive, default=[2, 8], help="default 2 8"
    )
    parser.add_argument(
        "--search", choices=("grid", "random", "bayesian"), default="grid", help="default grid"
    )
    parser.add_argument("--trials", type=common.positive, help="at most; default: all pairs")
    parser.add_argument("--epochs", type=common.positive, default=20, help="of each (default 20)")
    parser.add_argument("--batch-size", type=common.positive, default=128)
    parser.add_argument("--limit", type=common.positive, help="use the first examples only")
    parser.add_argument("--seed", type=common.from_0, default=0)
    parser.add_argument(
        "-o",
        "--output",
        help="folder of the sweep, which goes on when it exists (default sweeps/NAME)",
    )
    common.add_json(parser)


def run(arguments) -> int:
    common.quiet_tensorflow()
    import tensorflow as tf

    import kvae
    import zoo
    from kvae.utils.names import unknown_name
    from zoo.training import default_binarize

    name = arguments.architecture
    if name not in zoo.list_architectures():
        raise unknown_name("architecture", name, zoo.list_architectures())
    # Many models in one process: each traces its functions anew, of which TensorFlow warns.
    tf.get_logger().setLevel("ERROR")
    binarize = None if arguments.binarize == "none" else arguments.binarize
    if arguments.binarize is None:
        facts = kvae.datasets.info(arguments.dataset)
        settings = {"event_shape": facts.event_shape}
        binarize = default_binarize(name, settings, facts.dtype == "uint8")
    train, validation = (
        kvae.datasets.load(arguments.dataset, split, binarize=binarize, seed=arguments.seed)
        for split in ("train", "validation")
    )
    if arguments.limit:
        train, validation = train[: arguments.limit], validation[: arguments.limit]
    folder = io.writable_folder(arguments.output or f"sweeps/{name}.{arguments.dataset}")
    pairs = len(set(arguments.beta)) * len(set(arguments.latent_dim))
    with common.progress("trials", arguments.trials or pairs) as update:
        result = kvae.training.sweep(
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
