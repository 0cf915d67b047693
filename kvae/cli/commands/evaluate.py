"""`kvae evaluate MODEL`."""

from kvae.cli import checks, common, progress
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils import io
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    from kvae.datasets import SPLITS

    common.add_model(parser)
    own.add_data(parser)
    parser.add_argument(
        "--split",
        default="test",
        choices=SPLITS,
        help="Measure on this part of the data.",
    )
    parser.add_argument(
        "--samples",
        type=common.positive,
        default=Unset("as many as for the card, or 1000"),
        help="Use this many importance samples.",
    )
    common.add_limit(parser)
    parser.add_argument(
        "--batch-size",
        type=common.positive,
        default=100,
        help="Evaluate this many examples at a time.",
    )
    common.add_seed(parser, default=None)
    parser.add_argument(
        "--cache",
        metavar="FILE",
        type=checks.output_file,
        default=Unset("no file"),
        help="Keep finished batches of log p(x) in this file. The same command goes on from there "
        "when it was stopped.",
    )
    parser.add_argument(
        "--disentanglement",
        action="store_true",
        help="Compute scores of disentanglement instead of the likelihood. This is for models of "
        "sprites and reads about 300,000 images; with --limit N, N images and N groups of images.",
    )
    parser.add_argument(
        "--latents",
        action="store_true",
        help="Also summarize the latents: rate, active units and more.",
    )
    parser.add_argument(
        "--quality",
        action="store_true",
        help="Also judge samples: Fréchet distance, precision and recall, copies of training data.",
    )
    parser.add_argument(
        "--probes", action="store_true", help="Also measure how well the codes predict the labels."
    )
    parser.add_argument(
        "--rate-distortion",
        action="store_true",
        help="Also draw the decoder's curve of rate and distortion, by annealing.",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="Compare drawn rows of a table with real ones instead: columns and pairs, how well a "
        "classifier tells them, what can be learned from them, and copies of training rows.",
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        type=common.positive,
        default=Unset("as many as there are to train on, up to 10000"),
        help="Draw this many rows for --table.",
    )
    parser.add_argument(
        "--target",
        metavar="COLUMN",
        default=Unset("the last one of classes"),
        help="Predict this column for --table.",
    )
    own.add_sampler(parser)
    common.add_report_folder(parser, "result.json, result.md and pictures")
    common.add_json(parser)


@command(
    "evaluate",
    add_arguments,
    "kvae evaluate conv_vae.mnist",
    "kvae evaluate runs/digits/model.keras --dataset digits --latents --output report",
    "kvae evaluate runs/people/model.keras --data people.csv --table",
)
def run(arguments) -> int:
    """Measures a model on test data: ELBO, importance-sampled log p(x) and more.

    Figures are in nats per example. Without options, a model of the zoo is measured as its card
    was, so that the figures agree.
    """
    if arguments.output is not None:
        io.writable_folder(arguments.output)
    common.quiet_tensorflow()
    from kvae.evaluation import evaluate

    _check_options(arguments)
    model = own.load_sampling_model(arguments)
    if arguments.disentanglement:
        return _disentanglement(model, arguments)
    if arguments.table:
        return _table(model, arguments)
    data = own.load_data(model, arguments.model, arguments, arguments.split)
    samples, seed = arguments.samples or 1000, arguments.seed or 0
    card = common.card_of(arguments.model)
    if card is not None:
        nll = card.metrics.get("nll")
        samples = arguments.samples or (nll["num_samples"] if nll else 1)
        seed = card.recipe.get("seed", 0) if arguments.seed is None else arguments.seed
    if arguments.limit:
        data = data[: arguments.limit]
    asked = {
        name: getattr(arguments, name)
        for name in ("latents", "quality", "probes", "rate_distortion")
    }
    if arguments.quality or arguments.probes:
        asked["train"] = own.load_data(model, arguments.model, arguments, "train")
    name = arguments.model
    if arguments.sampler is not None:
        name = f"{name} with {arguments.sampler}"
    with progress.progress(f"evaluating {name}", len(data)) as update:
        result = evaluate(
            model,
            data,
            num_samples=samples,
            batch_size=arguments.batch_size,
            seed=seed,
            progress=update,
            cache=arguments.cache,
            name=name,
            **asked,
        )
    return _show(result, arguments, data, seed)


def _check_options(arguments) -> None:
    """Checks what goes with --table."""
    others = ("disentanglement", "latents", "quality", "probes", "rate_distortion", "samples")
    for option in others if arguments.table else ("rows", "target"):
        if getattr(arguments, option) not in (None, False):
            flag = f"--{option.replace('_', '-')}"
            raise ValueError(
                f"{flag} does not go with --table: leave one of them out."
                if arguments.table
                else f"{flag} belongs to --table: give that, too."
            )


def _table(model, arguments) -> int:
    """Compares drawn rows of a table with real ones."""
    import dataclasses

    import numpy as np

    from kvae.datasets import Column, Dataset
    from kvae.tables import report

    train, data = (
        own.load_data(model, arguments.model, arguments, split)
        for split in ("train", arguments.split)
    )
    if len(model.event_shape) != 1:
        raise ValueError(
            f"{arguments.model} makes examples of shape {model.event_shape}; --table is for rows."
        )
    train, data = (part if isinstance(part, Dataset) else part.dataset() for part in (train, data))
    if arguments.limit:
        train, data = train[: arguments.limit], data[: arguments.limit]
    schema = model.schema or data.schema
    if not (schema and schema.columns):
        columns = tuple(Column(f"column_{i + 1}", "gaussian") for i in range(model.event_shape[0]))
        schema = dataclasses.replace(data.schema, columns=columns)
    seed, n = arguments.seed or 0, arguments.rows or min(len(train), 10_000)
    options = {}
    if model.conditional and not model.takes_unknown_labels:
        # The labels of the training rows, in another order: a file may be sorted by them.
        order = np.random.default_rng(seed).permutation(np.resize(np.arange(len(train)), n))
        options["label"] = train.take(order).labels
    drawn = np.asarray(model.sample(n, seed=seed, output="sample", **options))
    result = report(
        schema, train.examples, drawn, data.examples, target=arguments.target, seed=seed
    )
    return _show(result, arguments, data, seed)


def _show(result, arguments, data, seed: int) -> int:
    """Prints the result, and writes it where that is asked for."""
    facts = None
    if arguments.json:
        facts = {
            "model": arguments.model,
            "sampler": arguments.sampler,
            "dataset": data.name,
            "split": data.split,
            "binarize": data.binarize,
            "num_examples": len(data),
            "seed": seed,
        }
    common.show(result, arguments.output, facts)
    return 0


def _disentanglement(model, arguments) -> int:
    from kvae import datasets
    from kvae.evaluation.disentanglement import disentanglement, num_images

    limit = arguments.limit
    known = {
        name: facts
        for name, facts in ((name, datasets.info(name)) for name in datasets.names())
        if facts.factors is not None
    }
    fitting = [name for name, facts in known.items() if facts.event_shape == model.event_shape]
    if arguments.dataset is not None:
        fitting = [name for name in fitting if name == arguments.dataset]
    if not fitting:
        of = ", ".join(f"{name} {facts.event_shape}" for name, facts in known.items())
        raise ValueError(
            f"--disentanglement is for models of data whose factors are known ({of}), not for "
            f"{arguments.model} of {arguments.dataset or model.event_shape}."
        )
    dataset, card, seed = fitting[0], common.card_of(arguments.model), arguments.seed
    if seed is None:
        seed = 0 if card is None else card.recipe.get("seed", 0)
    sizes = {}
    if limit:
        sizes = {"num_train": limit, "num_test": -(-limit // 2), "num_groups": min(limit, 1000)}
    with progress.progress(f"evaluating {arguments.model}", num_images(**sizes)) as update:
        result = disentanglement(
            model,
            known[dataset].factors(),
            seed=seed,
            batch_size=arguments.batch_size,
            progress=update,
            **sizes,
        )
    if arguments.json:
        common.print_json({"model": arguments.model, "dataset": dataset, **result})
    else:
        say(f"{arguments.model}\n{result}")
    return 0
