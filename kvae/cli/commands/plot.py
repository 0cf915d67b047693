"""`kvae plot MODEL KIND`."""

from kvae.cli import common, files, labels
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.terminal import say

_MOST = 10_000  # Examples at most: more dots than that hide each other.
_LABELLED = ("samples", "interpolation", "manifold", "posteriors")
_KINDS = ("reconstructions", "samples", "latent", "posteriors", "manifold", "interpolation")


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument("kind", choices=_KINDS, help="What to draw.")
    own.add_data(parser)
    common.add_seed(parser, default=0)
    parser.add_argument(
        "-n",
        type=common.positive,
        default=Unset("what suits the picture"),
        help="Draw this many examples, or this many along each side.",
    )
    labels.add_label(
        parser,
        "every class",
        "Draw this class, by its name or number. For samples, interpolation, manifold and "
        "the decoded plane of posteriors, of conditional models.",
    )
    files.add_output(parser, "Write this .png file.", "KIND.png")
    common.add_json(parser)


@command(
    "plot",
    add_arguments,
    "kvae plot conv_vae.mnist reconstructions",
    "kvae plot runs/photos/model.keras latent --data photos",
    "kvae plot blog_vae.mnist manifold -n 20 --output plane.png",
)
def run(arguments) -> int:
    """Draws reconstructions, samples, the latent space or ways through it.

    The plots posteriors and manifold are for models with two latent dimensions.
    """
    output = arguments.output or f"{arguments.kind}.png"
    if not output.endswith(".png"):
        raise ValueError(f"--output ends in .png, not {output!r}.")
    count = {} if arguments.n is None else {"n": arguments.n}
    if arguments.label is not None and arguments.kind not in _LABELLED:
        raise ValueError(
            f"--label is for {', '.join(_LABELLED[:-1])} and {_LABELLED[-1]}, not {arguments.kind}."
        )
    model = common.load_model(arguments.model)
    chosen = labels.label_of(model, arguments.label, arguments.model)
    label = {} if chosen is None else {"label": chosen}
    if arguments.kind in ("manifold", "posteriors") and model.conditional and not label:
        raise labels.label_missing(model, arguments.model)
    from kvae import plots

    if arguments.kind == "samples":
        plots.samples(model, seed=arguments.seed, path=output, **count, **label)
    else:
        data = own.load_data(model, arguments.model, arguments)[:_MOST]
        x = data if model.conditional else data.examples
        if arguments.kind == "reconstructions":
            shown = arguments.n or 10
            inputs = next(iter(data.batches(shown)))
            inputs = inputs[0] if isinstance(inputs, tuple) else inputs  # Noisy, if so trained.
            inputs = data[:shown] if model.conditional else inputs
            plots.reconstructions(model, inputs, shown, path=output)
        elif arguments.kind == "latent":
            plots.latent_scatter(model, data, path=output)
        elif arguments.kind == "posteriors":
            plots.posterior_map(model, x, data.labels, path=output, **count, **label)
        elif arguments.kind == "manifold":
            plots.manifold(model, x=x, path=output, **count, **label)
        else:
            rows = arguments.n or min(6, len(data) // 2)
            if not 0 < rows <= len(data) // 2:
                raise ValueError(
                    f"An interpolation of {max(rows, 1)} rows takes {2 * max(rows, 1)} examples, "
                    f"and {data.name} {data.split} has {len(data)}: give a smaller -n."
                )
            plots.interpolation(model, x[:rows], x[rows : 2 * rows], path=output, **label)
    if arguments.json:
        common.print_json({"path": output, "kind": arguments.kind})
    else:
        say(f"wrote {output}")
    return 0
