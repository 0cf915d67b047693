"""`kvae train`: a recipe of the zoo, or an architecture on a data set."""

import os
import sys

from kvae.cli import architectures, checks, common, launch
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.cli.training_data import add_reading
from kvae.utils import io, locks
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--recipe",
        metavar="NAME",
        type=checks.recipe,
        default=Unset("none"),
        help="Train the weights of this card again, e.g. dense_vae.digits.",
    )
    what.add_argument(
        "architecture",
        nargs="?",
        type=checks.named("architecture"),
        help="Train this architecture of the zoo, e.g. conv_vae, as the options say.",
    )
    own.add_data(parser, default="digits")
    add_reading(parser)
    parser.add_argument(
        "--latent-dim",
        type=common.positive,
        default=Unset("the architecture's"),
        help="Use this many latent dimensions.",
    )
    parser.add_argument(
        "--latent-shape",
        nargs="+",
        type=common.positive,
        metavar="N",
        default=Unset("the architecture's"),
        help="Put z on a grid of this shape, rows, columns and channels: of autoencoder_kl.",
    )
    architectures.add_networks(parser)
    parser.add_argument(
        "--missing",
        metavar="NAME[:mask]",
        type=checks.named("fill"),
        default=Unset("an empty cell, or NaN, is an error"),
        help="Take empty cells of a table, and NaN, for values that were not observed, of which "
        f"the encoder sees this in their place: {', '.join(checks.registered('fill'))}; with :mask "
        "it also sees where they are.",
    )
    parser.add_argument(
        "--objective",
        metavar="NAME[:ARGUMENT,...]",
        type=checks.named("objective"),
        default=Unset("the architecture's"),
        help="Minimize this objective, e.g. iwae:num_samples=5.",
    )
    parser.add_argument(
        "--beta",
        type=common.number_from_0,
        default=Unset("the objective's"),
        help="Weight the KL, or what the objective has in its place, by this number.",
    )
    parser.add_argument(
        "--epochs",
        type=common.positive,
        default=Unset("the recipe's, or 50"),
        help="Train for this many epochs in total. More than a finished run has extend it: its "
        "learning rate rises again to that of a longer run.",
    )
    parser.add_argument(
        "--batch-size",
        type=common.positive,
        default=Unset("the recipe's, or 16 to 128, the more the more examples there are"),
        help="Use this many examples in each step.",
    )
    parser.add_argument(
        "--learning-rate",
        type=common.positive_number,
        default=Unset("the recipe's, or 0.001"),
        help="Start with this learning rate, which falls to a fiftieth by a half cosine.",
    )
    common.add_import(parser)
    common.add_seed(parser, default=None)
    common.add_limit(parser)
    parser.add_argument(
        "--samples",
        type=common.positive,
        default=Unset("the recipe's, or up to 1000, as --evaluation-seconds allows"),
        help="Use this many importance samples in the evaluation at the end, for all test "
        "examples.",
    )
    parser.add_argument(
        "--evaluation-seconds",
        metavar="SECONDS",
        type=common.positive_number,
        default=60.0,
        help="Size the evaluation at the end to about this time. The recipe's has no bound.",
    )
    parser.add_argument(
        "--no-evaluation",
        action="store_true",
        help="Stop when the model is trained and saved.",
    )
    parser.add_argument(
        "--reproducible",
        action="store_true",
        help="Compute the same bits in every run, even in one that is killed and resumed.",
    )
    parser.add_argument(
        "--distributed",
        metavar="WHERE",
        type=_where,
        default=Unset("on one device"),
        help="Train on several devices: a number starts that many worker processes on this "
        "machine, gpus uses all of its GPUs, slurm is for tasks that srun started, and cluster "
        "does as TF_CONFIG says, e.g. on Kubernetes.",
    )
    parser.add_argument(
        "--checkpoint-seconds",
        metavar="SECONDS",
        type=common.number_from_0,
        default=30.0,
        help="Leave at least this time between two checkpoints.",
    )
    parser.add_argument(
        "--restarts",
        type=common.from_0,
        default=3,
        help="Start the workers of this machine again up to this many times when one dies.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=checks.output_folder,
        default=Unset("runs/NAME"),
        help="Keep the run in this folder. The same command resumes it there.",
    )
    common.add_json(parser)


def _where(text: str) -> str:
    """A place to train at: a number of workers, or a name."""
    if text in ("gpus", "slurm", "cluster"):
        return text
    return str(common.positive(text))


_where.__name__ = "number of workers, gpus, slurm or cluster"


def _recipe(arguments):
    """The recipe that the arguments name, with the changes that they make."""
    import dataclasses

    changes = {
        field: getattr(arguments, field)
        for field in ("epochs", "batch_size", "learning_rate", "seed")
        if getattr(arguments, field) is not None
    }
    if arguments.samples:
        changes["num_samples"] = arguments.samples
    if arguments.recipe:
        from zoo.building import RECIPES

        for option in (
            "dataset",
            "data",
            "event_shape",
            "fit",
            "columns",
            "conditional",
            "binarize",
            "objective",
            "beta",
            "latent_dim",
            "latent_shape",
            "missing",
            *architectures.SIZES,
            *architectures.PARTS,
        ):
            if getattr(arguments, option) not in (None, False):
                raise ValueError(
                    f"--{option.replace('_', '-')} belongs to an architecture; the recipe "
                    f"{arguments.recipe} says it already."
                )
        if arguments.no_evaluation:
            raise ValueError(
                "--no-evaluation belongs to an architecture; the card of a recipe states figures."
            )
        return dataclasses.replace(RECIPES[arguments.recipe], **changes)
    from zoo.building import ARCHITECTURES

    architecture = ARCHITECTURES[arguments.architecture]
    latents = architectures.sizes(arguments, architecture, "latent_dim", "latent_shape")
    return architectures.recipe_of(
        arguments, lambda settings: _with_objective(arguments, {**settings, **latents}), changes
    )


def _with_objective(arguments, settings) -> dict:
    """Returns the arguments of the architecture with the objective that the options ask for."""
    import keras

    from kvae import objectives
    from zoo.building import with_beta

    name, beta = arguments.objective, arguments.beta
    if name is not None:
        objectives.get(name)  # Refuses an unknown name.
        settings = {**settings, "objective": name}
    if beta is None:
        return settings
    settings = with_beta(arguments.architecture, settings, lambda _: beta)
    # As a configuration, by which a run is known again; names are given anew each time.
    saved = keras.saving.serialize_keras_object(settings["objective"])
    del saved["config"]["name"]
    return {**settings, "objective": saved}


def _launch(arguments) -> int:
    """Starts the workers, each of which does what this command does, at a place in a cluster."""
    if arguments.output is None:
        raise ValueError("Workers share a folder: name one with --output.")
    command = [sys.executable, "-m", "kvae", *arguments.argv, "--distributed", "cluster"]
    with locks.Lock(io.writable_folder(arguments.output), "a training"):
        pass  # The first worker takes it; what is refused here need not start any.
    return launch.launch(
        command, int(arguments.distributed), restarts=arguments.restarts, folder=arguments.output
    )


def _strategy(arguments):
    """TensorFlow's strategy, made before TensorFlow does anything else; `None` without one."""
    if arguments.distributed is None:
        common.quiet_tensorflow()
        return None

    def begin():
        from kvae import distributed

        return distributed.make_strategy(arguments.distributed)

    return common.quiet_tensorflow(begin)


def _leave_workers(error, strategy) -> None:
    """Ends a worker that lost another one, or may not train, with a status that says which."""
    import tensorflow as tf

    from kvae import distributed

    lost = (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
    )
    if strategy is None or not distributed.is_multi_worker(strategy):
        return
    if isinstance(error, BlockingIOError):  # Another training holds the folder.
        say(f"kvae: error: {error}", file=sys.stderr, flush=True)
        os._exit(launch.BAD_INPUT)
    if isinstance(error, lost):
        text = str(error).splitlines()[0]
        say(f"kvae: lost another worker ({text}); start all of them again", file=sys.stderr)
        sys.stderr.flush()
        os._exit(launch.LOST_WORKER)  # TensorFlow's own end would wait for the lost one.


@command(
    "train",
    add_arguments,
    "kvae train dense_vae --dataset digits --epochs 20",
    "kvae train conv_vae --data photos --conditional --output runs/photos",
    "kvae train conv_vae --data photos --event-shape 64 64 3 --fit crop",
    "kvae train tabular_vae --data people.csv --columns species=label id=ignore",
    "kvae train tabular_vae --data people.csv --columns sex=condition age=condition",
    "kvae train tabular_vae --data people.csv --missing mean:mask",
    "kvae train --recipe dense_vae.digits",
)
def run(arguments) -> int:
    """Trains an architecture of the zoo on your data, or the weights of a card again.

    The folder of the run holds checkpoints and, as soon as the training ends, model.keras, which
    all other commands take. With --recipe it also holds the weights and the card, as they stand in
    the zoo.

    Ctrl-C and SIGTERM let the epoch end, save it with model.keras, and print the command that goes
    on; a second one stops at once. What the options leave open follows the data. Before it trains,
    the command says what that is, and how large the model will be.
    """
    if (arguments.distributed or "").isdigit():
        return _launch(arguments)
    strategy = _strategy(arguments)
    from kvae.cli.runs import Run
    from zoo import training

    recipe = training.adapted(_recipe(arguments), arguments.reproducible, strategy)
    try:
        return Run(arguments, recipe, strategy).run()
    except Exception as error:
        _leave_workers(error, strategy)
        raise
