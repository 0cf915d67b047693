"""`kvae evaluate MODEL`."""

from kvae.cli import common


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
    common.add_json(parser)


def result_rows(result: dict) -> list[tuple]:
    """An evaluation as rows of a table."""
    rows = []
    for name, value in result.items():
        if isinstance(value, dict):
            rows.append(
                (
                    name,
                    f"{value['value']:.3f}",
                    f"± {value['standard_error']:.3f} (images), ± {value['monte_carlo_error']:.3f} "
                    f"(samples); {value['num_samples']} samples × {value['num_examples']} images",
                )
            )
        elif isinstance(value, float):
            digits = 5 if name in ("bce_per_pixel", "mse") else 3
            unit = "nats" if name in ("elbo", "reconstruction", "kl") else ""
            rows.append((name, f"{value:.{digits}f}", unit))
    return rows


def run(arguments) -> int:
    common.quiet_tensorflow()
    from kvae.evaluation import evaluate

    model = common.load_model(arguments.model)
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
    with common.progress(f"evaluating {arguments.model}", len(data)) as update:
        result = evaluate(
            model,
            data,
            num_samples=samples,
            batch_size=arguments.batch_size,
            seed=seed,
            progress=update,
            cache=arguments.cache,
        )
    facts = {
        "model": arguments.model,
        "dataset": data.name,
        "split": data.split,
        "binarize": data.binarize,
        "num_examples": len(data),
        "seed": seed,
    }
    if arguments.json:
        common.print_json({**facts, **result})
        return 0
    what = f"{data.name} {data.split}, {len(data)} examples, binarize={data.binarize}"
    common.table(f"{arguments.model} on {what}", ("quantity", "value", ""), result_rows(result))
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
        print(f"{arguments.model}\n{result}")
    return 0
