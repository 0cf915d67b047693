"""The course of `kvae train`: what a model is, its training, its file and its evaluation."""

import contextlib
import math
import sys

from kvae.cli import common, launch, progress, stopping
from kvae.utils import io, locks
from kvae.utils.names import event_words, shown_names
from kvae.utils.terminal import say

__all__ = ["Run", "announce", "networks"]

_ADAM = 3  # Numbers that a checkpoint has for each weight: it, and what Adam remembers of it.


class Run:
    """A training of the command line, in its folder.

    Args:
        arguments: `argparse.Namespace` of `kvae train`.
        recipe: `zoo.Recipe`.
        strategy: `tf.distribute.Strategy` or `None`.
    """

    def __init__(self, arguments, recipe, strategy):
        from kvae import distributed

        self.arguments, self.recipe, self.strategy = arguments, recipe, strategy
        self.chief = strategy is None or distributed.is_chief(strategy)
        self.directory = io.writable_folder(arguments.output or f"runs/{recipe.name}")
        self.path = self.directory / "model.keras"
        self.model = None
        self.final = {}  # The model before its final phase, and what that phase came to.

    def run(self) -> int:
        """Trains, saves and evaluates the model; returns the exit status."""
        from kvae.training import Interrupted

        with contextlib.ExitStack() as held:
            if self.chief:
                held.enter_context(locks.Lock(self.directory, "a training"))
            stop = held.enter_context(stopping.stoppable())
            try:
                model, trained = self._train()
            except Interrupted as interrupted:
                self._keep(interrupted)
                return stop.status
            if not self.chief:
                launch.wait_for_first(self.directory)
                return 0
            model = self._save(model)
            if not trained.epochs_run:
                say(
                    f"{self.directory} has {len(trained.history['loss'])} epochs already; a larger "
                    "--epochs goes on from there",
                    file=sys.stderr,
                )
            if self.arguments.no_evaluation:
                self._tell({})
                return 0
            try:
                metrics = self._evaluate(model)
            except KeyboardInterrupt:
                own = self.arguments.data  # The model remembers a data set by its name.
                words = ["evaluate", str(self.path), *([] if own is None else ["--data", own])]
                if self.arguments.recipe:  # Whose card is still to be written.
                    words = self.arguments.argv
                stopping.say_how_to_go_on(
                    f"the evaluation was stopped. The model is {self.path}; to evaluate it:", words
                )
                return stop.status
            self._tell(metrics)
            if self.arguments.recipe:
                self._publish(model, trained, metrics)
        return 0

    def _train(self):
        from zoo import training

        recipe, arguments = self.recipe, self.arguments

        def begin(model, data, validation):
            self.model = model
            if self.chief:
                announce(recipe, model, data, validation)

        options = dict(
            verbose=0,
            limit=arguments.limit,
            strategy=self.strategy,
            every_seconds=arguments.checkpoint_seconds,
            begin=begin,
        )
        with progress.progress(f"training {recipe.name}", recipe.epochs, "epoch") as update:
            callbacks = [progress.epochs(update)]
            model, trained = training.train(recipe, self.directory, callbacks=callbacks, **options)
        if recipe.finish is None:
            return model, trained
        text = f"final phase of {recipe.name}"
        with progress.progress(text, recipe.finish.epochs, "epoch") as update:
            callbacks, folder = [progress.epochs(update)], self.directory / "final"
            last, ended = training.finish(recipe, model, folder, callbacks=callbacks, **options)
        self.final = {"before": model, "ended": ended}
        return last, trained

    def _save(self, model):
        """Writes `model.keras`, and returns the model that is in it.

        It is without the optimizer, which the checkpoints have: a third of the size.
        """
        from zoo import training

        bare = training.copy_of(self.recipe, model)
        with io.atomic_write(self.path) as temporary:
            bare.save(temporary)
        say(f"wrote {self.path}", file=sys.stderr, flush=True)
        return bare

    def _keep(self, interrupted) -> None:
        """Writes the best weights of a training that was stopped, and says how it goes on."""
        if not self.chief:
            return
        what = f"stopped, with {interrupted.saved_epoch} of {interrupted.epochs} epochs saved."
        if interrupted.at_once:
            what = (
                f"stopped at once. The last checkpoint in {self.directory} holds "
                f"{interrupted.saved_epoch} of {interrupted.epochs} epochs; what came after it has "
                "to be trained again."
            )
        if interrupted.best_epoch is None:
            what = "stopped before an epoch had ended, with nothing to save."
        else:
            self._save(self.model)
        words = list(self.arguments.argv)
        if words[-2:] == ["--distributed", "cluster"] and words.count("--distributed") > 1:
            words = words[:-2]  # A worker that `kvae train --distributed N` has started.
        stopping.say_how_to_go_on(f"{what} To go on:", words)

    def _evaluate(self, model) -> dict:
        from kvae.evaluation import evaluate
        from zoo import figures, training
        from zoo.affordable import affordable

        arguments, recipe = self.arguments, self.recipe
        data = training.test_data(recipe)
        if arguments.recipe or arguments.samples:
            options = {"num_samples": recipe.num_samples}
        else:
            found = affordable(model, data, arguments.evaluation_seconds)
            options = {"num_samples": found.num_samples}
            if found.num_samples > 1:
                say(
                    f"evaluating {found.num_examples:,} of {len(data):,} test examples with "
                    f"{found.num_samples:,} importance samples each, in about "
                    f"{math.ceil(found.seconds)} s (--evaluation-seconds changes it, "
                    "--no-evaluation skips it)",
                    file=sys.stderr,
                    flush=True,
                )
            data = data[: found.num_examples]
        with progress.progress("evaluating", len(data)) as update:
            options["progress"] = update
            if arguments.recipe:
                return training.measure(recipe, model, **options)
            return figures.without_improper(
                model, data, evaluate(model, data, seed=recipe.seed, **options).to_dict()
            )

    def _tell(self, metrics: dict) -> None:
        from kvae.evaluation.evaluate import figure_rows

        if self.arguments.json:
            facts = {"recipe": self.recipe.name, "output": str(self.directory)}
            common.print_json({**facts, **metrics})
        elif metrics:
            rows = figure_rows(metrics)
            common.table(f"{self.recipe.name}, test data", ("quantity", "value", ""), rows)

    def _publish(self, model, trained, metrics: dict) -> None:
        from zoo import publishing

        publishing.publish(self.recipe, model, trained, metrics, self.directory, **self.final)
        if not self.arguments.json:
            say(f"wrote {self.directory}/weights and {self.directory}/cards, as in the zoo")


def announce(recipe, model, data, validation) -> None:
    """Says, before the training, what is trained on what, and how large it is."""
    from zoo.defaults import LEARNED

    likelihood = recipe.arguments.get("likelihood")
    name = type(model.likelihood).__name__
    if likelihood == LEARNED:
        name = f"{LEARNED}, whose σ follows the data"
    elif recipe.binarize:
        name = f"{name}, of pixels that are made 0 or 1 ({recipe.binarize} binarization)"
    shape = " × ".join(map(str, model.event_shape))
    shape += " columns" if len(model.event_shape) == 1 else ""
    latents = " × ".join(map(str, model.latent_shape))
    classes = model.schema.class_names if model.schema is not None else ()
    count = model.count_params()
    left, steps = f"{len(validation or ()):,} to validate on", recipe.batch_size
    if validation is None:
        left, steps = "none to validate on, since this is the final phase", recipe.finish.batch_size
    for line in (
        f"{recipe.name}: {len(data):,} {event_words(model.event_shape)} of {shape} to train on, "
        f"{left}, {steps} in a step",
        *([f"  classes: {shown_names(classes)}"] if model.conditional and classes else ()),
        f"  encoder: {networks(model.encoder)}",
        f"  decoder: {networks(model.decoder)}",
        f"  z: {latents} numbers; p(x|z): {name}",
        f"  {count:,} parameters: {_size(count)} as model.keras, 2 × {_size(_ADAM * count)} as "
        "checkpoints",
    ):
        say(line, file=sys.stderr, flush=True)


def networks(model) -> str:
    """Returns the layers of a network that have weights, with their widths, in one line."""
    from kvae.utils import keras_internals

    kinds: list[tuple[str, list[str]]] = []
    layers = getattr(model, "layers", None) or keras_internals.flat_layers(model, False)
    for layer in layers:
        width = getattr(layer, "filters", getattr(layer, "units", None))
        if width is None or not layer.weights:
            continue
        kind = type(layer).__name__
        if not kinds or kinds[-1][0] != kind:
            kinds.append((kind, []))
        kinds[-1][1].append(str(width))
    found = "; ".join(f"{kind} {', '.join(widths)}" for kind, widths in kinds)
    return found or f"{len(layers)} layers"


def _size(numbers: int) -> str:
    size = numbers * 4
    if size < 1e6:
        return f"{math.ceil(size / 1e3)} kB"
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
