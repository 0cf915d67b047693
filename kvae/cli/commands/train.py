"""`kvae train`: a recipe of the zoo, or an architecture on a data set."""

import contextlib
import os
import sys

from kvae.cli import common, launch
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.utils import io, locks
from kvae.utils.terminal import say

_PARTS = ("posterior", "prior", "likelihood")


def add_arguments(parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--recipe",
        metavar="NAME",
        help="Train the weights of this card again, e.g. dense_vae.digits.",
    )
    what.add_argument(
        "architecture",
        nargs="?",
        help="Train this architecture of the zoo, e.g. conv_vae, as the options say.",
    )
    own.add_data(parser, default="digits")
    own.add_reading(parser)
    parser.add_argument(
        "--latent-dim", type=common.positive, help="Use this many latent dimensions."
    )
    parser.add_argument("--posterior", metavar="NAME", help="Use this q(z|x), e.g. iaf.")
    parser.add_argument("--prior", metavar="NAME", help="Use this p(z), e.g. vamp.")
    parser.add_argument("--likelihood", metavar="NAME", help="Use this p(x|z), e.g. gaussian.")
    parser.add_argument("--objective", metavar="NAME", help="Minimize this objective, e.g. iwae.")
    parser.add_argument(
        "--beta",
        type=common.number_from_0,
        help="Weight the KL, or what the objective has in its place, by this number.",
    )
    parser.add_argument("--epochs", type=common.positive, help="Train for this many epochs.")
    parser.add_argument(
        "--batch-size", type=common.positive, help="Use this many examples in each step."
    )
    parser.add_argument(
        "--learning-rate", type=common.positive_number, help="Start with this learning rate."
    )
    common.add_seed(parser, default=None)
    common.add_limit(parser)
    parser.add_argument(
        "--samples",
        type=common.positive,
        help="Use this many importance samples in the evaluation at the end.",
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
        help="Train on several devices: a number starts that many worker processes on this "
        "machine, gpus uses all of its GPUs, slurm is for tasks that srun started, and cluster "
        "does as TF_CONFIG says, e.g. on Kubernetes.",
    )
    parser.add_argument(
        "--checkpoint-seconds",
        metavar="SECONDS",
        type=common.number_from_0,
        default=30.0,
        help="Leave at least this time between two checkpoints (default: 30).",
    )
    parser.add_argument(
        "--restarts",
        type=common.from_0,
        default=3,
        help="Start the workers of this machine again up to this many times when one dies "
        "(default: 3).",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="Keep the run in this folder. The same command resumes it there (default: runs/NAME).",
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

    from zoo.building import ARCHITECTURES, RECIPES
    from zoo.recipes import Recipe

    changes = {
        field: getattr(arguments, field)
        for field in ("epochs", "batch_size", "learning_rate", "seed")
        if getattr(arguments, field) is not None
    }
    if arguments.samples:
        changes["num_samples"] = arguments.samples
    if arguments.recipe:
        for option in (
            "dataset",
            "data",
            "event_shape",
            "fit",
            "columns",
            "conditional",
            "binarize",
            "latent_dim",
            "objective",
            "beta",
            *_PARTS,
        ):
            if getattr(arguments, option) not in (None, False):
                raise ValueError(
                    f"--{option.replace('_', '-')} belongs to an architecture; the recipe "
                    f"{arguments.recipe} says it already."
                )
        return dataclasses.replace(RECIPES[arguments.recipe], **changes)
    from kvae import likelihoods, posteriors, priors
    from zoo import training

    architecture = ARCHITECTURES[arguments.architecture]
    data = own.training_data(arguments)
    settings = data.settings(architecture, arguments.likelihood)
    if arguments.conditional:
        settings["num_classes"] = data.num_classes
    if arguments.latent_dim:
        settings["latent_dim"] = arguments.latent_dim
    homes = {"posterior": posteriors, "prior": priors, "likelihood": likelihoods}
    for part, home in homes.items():
        name = getattr(arguments, part)
        if name is not None:
            home.get(name)  # An unknown name is refused here.
            settings[part] = name
    settings = _with_objective(arguments, settings)
    binarize = None if arguments.binarize == "none" else arguments.binarize
    if arguments.binarize is None:
        binarize = training.default_binarize(arguments.architecture, settings, data.intensities)
    return Recipe(
        f"{arguments.architecture}.{data.name}",
        data.dataset,
        settings,
        schema=data.schema,
        binarize=binarize,
        noise=architecture.noise,
        **changes,
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
    if not distributed.is_multi_worker(strategy):
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
    "kvae train --recipe dense_vae.digits",
)
def run(arguments) -> int:
    """Trains an architecture of the zoo on your data, or the weights of a card again.

    The folder of the run holds checkpoints and, in the end, model.keras, which all other commands
    take. With --recipe it also holds the weights and the card, as they stand in the zoo.
    """
    if (arguments.distributed or "").isdigit():
        return _launch(arguments)
    strategy = _strategy(arguments)
    import keras

    from kvae import distributed
    from zoo import training

    class Bar(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            shown = logs.get("val_loss", logs["loss"])
            update(epoch + 1, f"{recipe.name}: loss {logs['loss']:.3f}, validation {shown:.3f}")

    recipe = training.adapted(_recipe(arguments), arguments.reproducible, strategy)
    directory = io.writable_folder(arguments.output or f"runs/{recipe.name}")
    with contextlib.ExitStack() as held:
        try:
            if strategy is None or distributed.is_chief(strategy):
                held.enter_context(locks.Lock(directory, "a training"))
            with common.progress(f"training {recipe.name}", recipe.epochs) as update:
                model, checkpoint = training.train(
                    recipe,
                    directory,
                    verbose=0,
                    callbacks=[Bar()],
                    limit=arguments.limit,
                    strategy=strategy,
                    every_seconds=arguments.checkpoint_seconds,
                )
        except Exception as error:
            _leave_workers(error, strategy)
            raise
        if strategy is not None:
            if not distributed.is_chief(strategy):
                return 0
            model = training.copy_of(recipe, model)
        return _finish(arguments, recipe, model, checkpoint, directory)


def _finish(arguments, recipe, model, checkpoint, directory) -> int:
    """Measures what was trained, writes it, and says both."""
    from zoo import training

    # Each result is kept before the next is worked out: the model, its figures, the zoo's files.
    with io.atomic_write(directory / "model.keras") as temporary:
        model.save(temporary)
    data = training.test_data(recipe)
    with common.progress("evaluating", len(data)) as update:
        metrics = training.measure(recipe, model, progress=update)
    from kvae.evaluation.evaluate import figure_rows

    if arguments.json:
        common.print_json({"recipe": recipe.name, "output": str(directory), **metrics})
    else:
        rows = figure_rows(metrics)
        common.table(f"{recipe.name} on {data.name} test", ("quantity", "value", ""), rows)
        say(f"wrote {directory / 'model.keras'}")
    if arguments.recipe:
        training.publish(recipe, model, checkpoint, metrics, directory)
        if not arguments.json:
            say(f"wrote {directory}/weights and {directory}/cards, as in the zoo")
    return 0
