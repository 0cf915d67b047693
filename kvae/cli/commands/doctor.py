"""`kvae doctor MODEL`."""

from kvae.cli import common
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils import io


def add_arguments(parser) -> None:
    from kvae.datasets import SPLITS

    common.add_model(parser)
    own.add_data(parser)
    parser.add_argument(
        "--split",
        default="test",
        choices=SPLITS,
        help="Judge by this part of the data, beside what the model was trained on.",
    )
    parser.add_argument(
        "--examples",
        metavar="N",
        type=common.positive,
        default=1000,
        help="Look at this many examples of each part at most, at even distances.",
    )
    parser.add_argument(
        "--try",
        dest="try_suggestions",
        action="store_true",
        help="Also measure the suggestions: a changed copy of the model is trained for some epochs "
        "beside an unchanged one, and both are compared.",
    )
    parser.add_argument(
        "--epochs",
        type=common.positive,
        default=Unset("5"),
        help="Train for this many epochs with --try.",
    )
    common.add_seed(parser, default=0)
    common.add_report_folder(parser)
    common.add_json(parser)


@command(
    "doctor",
    add_arguments,
    "kvae doctor dense_vae.digits",
    "kvae doctor runs/photos/model.keras --data photos --try --json",
)
def run(arguments) -> int:
    """Looks for what is wrong with a model, with the evidence, and says what to do about it.

    It looks for data in the wrong range, drift between training and test data, a collapsed
    posterior, a prior that does not fit the codes, a σ that is too small or too large, a posterior
    that is too wide or too narrow, and over-fitting. The exit status is 1 where a fault is serious.
    """
    if arguments.examples < 10:
        raise ValueError(f"--examples is at least 10, not {arguments.examples}.")
    if arguments.epochs is not None and not arguments.try_suggestions:
        raise ValueError("--epochs is how long --try trains: give --try, too.")
    own.path_of(arguments)  # Refuses what else is told of the data, before TensorFlow loads.
    if arguments.output is not None:
        io.writable_folder(arguments.output)
    model = common.load_model(arguments.model)
    from kvae.diagnosis import diagnose

    train, data = (
        own.load_data(model, arguments.model, arguments, split)
        for split in ("train", arguments.split)
    )
    common.tell(f"examining {arguments.model}")
    result = diagnose(
        model,
        data,
        train,
        num_examples=arguments.examples,
        seed=arguments.seed,
        try_suggestions=arguments.try_suggestions,
        epochs=arguments.epochs or 5,
        name=arguments.model,
    )
    facts = None
    if arguments.json:
        facts = {
            "model": arguments.model,
            "dataset": data.name,
            "split": data.split,
            "serious": result.serious,
        }
    common.show(result, arguments.output, facts)
    return 1 if result.serious else 0
