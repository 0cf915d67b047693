"""`kvae evaluate MODEL`."""

from kvae.cli import common
from kvae.utils import io
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument("--dataset", help="default: the card's, or digits")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--binarize", choices=("none", "static", "dynamic"))
    parser.add_argument(
        "--samples", type=common.positive, help="importance samples; default: the card's, or 1000"
    )
    parser.add_argument("--limit", type=common.positive, help="use the first examples only")
    parser.add_argument("--batch-size", type=common.positive, default=100)
    parser.add_argument("--seed", type=int, help="default: the card's, or 0")
    parser.add_argument(
        "--cache", help="file that keeps finished batches of log p(x), to go on after a stop"
    )
    parser.add_argument(
        "--disentanglement",
        action="store_true",
        help="of a model of sprites, its scores of disentanglement instead of its likelihood "
        "(about 300,000 images; --limit N learns from N images and N groups of images)",
    )
    parser.add_argument("--latents", action="store_true", help="rate, active units, …")
    parser.add_argument(
        "--quality", action="store_true", help="samples: Fréchet distance, precision, …, copies"
    )
    parser.add_argument("--probes", action="store_true", help="labels that the codes tell")
    parser.add_argument(
        "--rate-distortion", action="store_true", help="the curve of the decoder, by annealing"
    )
    common.add_sampler(parser)
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="write result.json, result.md and pictures there"
    )
    common.add_json(parser)


def run(arguments) -> int:
    common.quiet_tensorflow()
    from kvae.evaluation import evaluate

    if arguments.output is not None:
        io.writable_folder(arguments.output)
    model = common.load_sampling_model(arguments)
    if arguments.disentanglement:
        return _disentanglement(model, arguments)
    data = common.load_data(model, arguments.model, arguments, arguments.split)
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
        asked["train"] = common.load_data(model, arguments.model, arguments, "train")
    name = arguments.model
    if arguments.sampler is not None:
        name = f"{name} with {arguments.sampler}"
    with common.progress(f"evaluating {name}", len(data)) as update:
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
    from kvae.datasets import Sprites
    from kvae.evaluation.disentanglement import disentanglement, num_images

    sprites, limit = Sprites(), arguments.limit
    if arguments.dataset not in (None, "sprites") or model.event_shape != sprites.event_shape:
        raise ValueError(
            f"--disentanglement is for models of sprites, {sprites.event_shape}, not for "
            f"{arguments.model} of {arguments.dataset or model.event_shape}."
        )
    card, seed = common.card_of(arguments.model), arguments.seed
    if seed is None:
        seed = 0 if card is None else card.recipe.get("seed", 0)
    sizes = {}
    if limit:
        sizes = {"num_train": limit, "num_test": -(-limit // 2), "num_groups": min(limit, 1000)}
    with common.progress(f"evaluating {arguments.model}", num_images(**sizes)) as update:
        result = disentanglement(
            model,
            sprites,
            seed=seed,
            batch_size=arguments.batch_size,
            progress=update,
            **sizes,
        )
    if arguments.json:
        common.print_json({"model": arguments.model, "dataset": "sprites", **result})
    else:
        say(f"{arguments.model}\n{result}")
    return 0
