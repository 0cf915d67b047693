"""`kvae compare A B`."""

from kvae.cli import common, progress
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.utils import io


def add_arguments(parser) -> None:
    from kvae.datasets import SPLITS

    common.add_model(parser, "a", "b")
    own.add_data(parser, "that of A: its card's or its training's, or digits")
    parser.add_argument(
        "--split", default="test", choices=SPLITS, help="Compare on this part of the data."
    )
    parser.add_argument(
        "--samples",
        type=common.positive,
        default=100,
        help="Use this many importance samples for each example.",
    )
    parser.add_argument(
        "--confidence",
        metavar="SHARE",
        type=common.positive_number,
        default=0.95,
        help="Give an interval that holds the difference with this probability, below 1.",
    )
    common.add_limit(parser)
    parser.add_argument(
        "--batch-size",
        type=common.positive,
        default=100,
        help="Evaluate this many examples at a time.",
    )
    common.add_seed(parser, default=0)
    common.add_report_folder(parser)
    common.add_json(parser)


@command(
    "compare",
    add_arguments,
    "kvae compare dense_vae.digits conv_vae.digits",
    "kvae compare old.keras new.keras --data photos --samples 500 --json",
)
def run(arguments) -> int:
    """Compares two models by log p(x) of the same data, and says whether the data can tell them.

    The difference is taken example by example, with the same noise, and in nats: above 0 where A
    gives the data more probability. Its error is that of paired measurements.
    """
    if not arguments.confidence < 1:
        raise ValueError(f"--confidence is below 1, not {arguments.confidence:g}.")
    for option, what in (("samples", "importance samples"), ("limit", "examples")):
        if getattr(arguments, option) == 1:
            raise ValueError(f"--{option} is at least 2: a single one tells no error of {what}.")
    own.path_of(arguments)  # Refuses what else is told of the data, before TensorFlow loads.
    if arguments.output is not None:
        io.writable_folder(arguments.output)
    common.quiet_tensorflow()
    from kvae.evaluation import compare

    models = [common.load_model(name) for name in (arguments.a, arguments.b)]
    given = zip(models, (arguments.a, arguments.b), strict=True)
    readings = [own.reading(model, name, arguments) for model, name in given]
    _check_datasets(*readings, arguments)
    data = own.load_data(models[0], arguments.a, arguments, arguments.split)
    own.checked(models[1], arguments.b, data)
    _check_reading(*readings, arguments)
    if arguments.limit:
        data = data[: arguments.limit]
    names = common.stem(arguments.a), common.stem(arguments.b)
    if names[0] == names[1]:  # Of files in different folders.
        names = arguments.a, arguments.b
    if names[0] == names[1]:
        names = "A", "B"
    with progress.progress(f"comparing {names[0]} and {names[1]}", 2 * len(data)) as update:
        result = compare(
            *models,
            data,
            num_samples=arguments.samples,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            confidence=arguments.confidence,
            progress=update,
            names=names,
        )
    facts = None
    if arguments.json:
        facts = {
            "a": arguments.a,
            "b": arguments.b,
            "dataset": data.name,
            "split": data.split,
            "binarize": data.binarize,
        }
    common.show(result, arguments.output, facts)
    return 0


def _check_datasets(one, other, arguments) -> None:
    """Refuses data that are not those of B, where nothing is said of the data to compare on."""
    if one.dataset != other.dataset:
        raise ValueError(
            f"{arguments.a} is of {one.dataset} and {arguments.b} of {other.dataset}: say with "
            "--dataset or --data what to compare them on."
        )


def _check_reading(one, other, arguments) -> None:
    """Refuses data of which A and B see other numbers."""
    if arguments.binarize is None and one.binarize != other.binarize:
        raise ValueError(
            f"{arguments.a} sees its data with --binarize {one.binarize or 'none'}, and "
            f"{arguments.b} with --binarize {other.binarize or 'none'}: say which one both see."
        )
    known = [(a, b) for a, b in zip(one.layout, other.layout, strict=True) if a and b]
    if one.dataset is None and any(a != b for a, b in known):
        raise ValueError(
            f"{arguments.a} and {arguments.b} read {arguments.data} in different ways: their "
            "columns, their classes, or the way in which images are brought to their size are not "
            "the same. Compare models of the same data."
        )
