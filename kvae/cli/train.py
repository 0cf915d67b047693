"""`kvae train`: a recipe of the zoo, or an architecture on a data set."""

from kvae import io
from kvae.cli import common

_PARTS = {"posterior": "posteriors", "prior": "priors", "likelihood": "likelihoods"}


def add_arguments(parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--recipe", metavar="NAME", help="retrain a card's weights")
    what.add_argument(
        "architecture",
        nargs="?",
        help="an architecture of the zoo, e.g. conv_vae, with the options",
    )
    parser.add_argument("--dataset", help="default digits")
    parser.add_argument("--binarize", choices=("none", "static", "dynamic"))
    parser.add_argument("--latent-dim", type=common.positive)
    parser.add_argument("--posterior", metavar="NAME", help="q(z|x), e.g. iaf")
    parser.add_argument("--prior", metavar="NAME", help="p(z), e.g. vamp")
    parser.add_argument("--likelihood", metavar="NAME", help="p(x|z), e.g. gaussian")
    parser.add_argument("--objective", metavar="NAME", help="what is minimised, e.g. iwae")
    parser.add_argument(
        "--beta",
        type=common.number_from_0,
        help="weight of the KL, or of what the objective has in its place",
    )
    parser.add_argument("--epochs", type=common.positive)
    parser.add_argument("--batch-size", type=common.positive)
    parser.add_argument("--learning-rate", type=common.positive_number)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--limit", type=common.positive, help="train on the first examples only")
    parser.add_argument(
        "--samples", type=common.positive, help="importance samples of the evaluation"
    )
    parser.add_argument(
        "-o", "--output", help="folder of the run, resumed when it exists (default runs/NAME)"
    )
    common.add_json(parser)


def _recipe(arguments):
    """The recipe that the arguments name, with the changes that they make."""
    import dataclasses

    from zoo import recipes

    changes = {
        field: getattr(arguments, field)
        for field in ("epochs", "batch_size", "learning_rate", "seed")
        if getattr(arguments, field) is not None
    }
    if arguments.samples:
        changes["num_samples"] = arguments.samples
    if arguments.recipe:
        for option in ("dataset", "binarize", "latent_dim", "objective", "beta", *_PARTS):
            if getattr(arguments, option) is not None:
                raise ValueError(
                    f"--{option.replace('_', '-')} belongs to an architecture; the recipe "
                    f"{arguments.recipe} says it already."
                )
        return dataclasses.replace(recipes.get(arguments.recipe), **changes)
    import kvae
    from kvae.names import unknown_name
    from zoo import list_architectures

    if arguments.architecture not in list_architectures():
        raise unknown_name("architecture", arguments.architecture, list_architectures())
    dataset = arguments.dataset or "digits"
    info = kvae.datasets.info(dataset)
    settings = {"image_shape": info.shape}
    if arguments.latent_dim:
        settings["latent_dim"] = arguments.latent_dim
    for part in _PARTS:
        name = getattr(arguments, part)
        if name is not None:
            getattr(kvae, _PARTS[part]).get(name)  # An unknown name is refused here.
            settings[part] = name
    settings.update(_objective(arguments, settings))
    variational = "autoencoder" not in arguments.architecture
    binarize = arguments.binarize or ("dynamic" if variational else "none")
    return recipes.Recipe(
        f"{arguments.architecture}.{dataset}",
        dataset,
        settings,
        binarize=None if binarize == "none" else binarize,
        noise=0.5 if arguments.architecture.startswith("denoising") else 0.0,
        **changes,
    )


def _objective(arguments, settings) -> dict:
    """What the options say of the objective, as arguments of the architecture."""
    import keras

    import kvae
    import zoo

    name, beta = arguments.objective, arguments.beta
    objective = None if name is None else kvae.objectives.get(name)  # Refuses an unknown name.
    if beta is None:
        return {} if name is None else {"objective": name}
    if objective is None:
        objective = zoo.build(arguments.architecture, **settings).objective
    config = objective.get_config()
    if "beta" not in config:
        raise ValueError(f"The objective {name} has no `beta`: leave out --beta.")
    # As a configuration, by which a run is known again; names are given anew each time.
    objective = type(objective).from_config({**config, "beta": beta})
    saved = keras.saving.serialize_keras_object(objective)
    del saved["config"]["name"]
    return {"objective": saved}


def run(arguments) -> int:
    common.quiet_tensorflow()
    import keras

    from zoo import training

    class Bar(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            shown = logs.get("val_loss", logs["loss"])
            update(epoch + 1, f"{recipe.name}: loss {logs['loss']:.3f}, validation {shown:.3f}")

    recipe = _recipe(arguments)
    directory = io.writable_folder(arguments.output or f"runs/{recipe.name}")
    with common.progress(f"training {recipe.name}", recipe.epochs) as update:
        model, checkpoint = training.train(
            recipe, directory, verbose=0, callbacks=[Bar()], limit=arguments.limit
        )
    data = training.test_data(recipe)
    with common.progress("evaluating", len(data)) as update:
        metrics = training.measure(recipe, model, progress=update)
    from kvae.evaluation.evaluate import figure_rows

    with io.atomic_write(directory / "model.keras") as temporary:
        model.save(temporary)
    if arguments.recipe:
        training.publish(recipe, model, checkpoint, metrics, directory)
    if arguments.json:
        common.print_json({"recipe": recipe.name, "output": str(directory), **metrics})
        return 0
    rows = figure_rows(metrics)
    common.table(f"{recipe.name} on {data.name} test", ("quantity", "value", ""), rows)
    print(f"wrote {directory / 'model.keras'}")
    if arguments.recipe:
        print(f"wrote {directory}/weights and {directory}/cards, as in the zoo")
    return 0
