"""`kvae demo`: the whole way, from `model.fit` to verified exports, on one page."""

import shutil
import time

from kvae.cli import checks, common, progress
from kvae.cli.command import command
from kvae.utils import io, locks
from kvae.utils.terminal import say

PRETRAINED = "conv_vae.mnist"  # The model that the demo loads and exports.


def add_arguments(parser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=checks.output_folder,
        default="demo",
        help="Write into this folder.",
    )
    parser.add_argument(
        "--epochs",
        type=common.positive,
        default=80,
        help="Train for this many epochs.",
    )
    common.add_seed(parser, default=0)


@command("demo", add_arguments, "kvae demo", "kvae demo --epochs 5 --output quick")
def run(arguments) -> int:
    """Goes the whole way in two minutes: train, evaluate, draw, load, export and verify.

    The result is one page, index.html, with figures, pictures and the reports of the exports.
    """
    start = time.monotonic()
    folder = io.writable_folder(arguments.output)
    common.quiet_tensorflow()

    from kvae.utils.pages import Page

    report = Page(
        "kvae: from model.fit to a served decoder",
        "Everything on this page was made by kvae demo, on this machine.",
    )
    ok = True
    steps = (_train, _pretrained, _exports)
    with locks.Lock(folder, "a demo"):
        for number, step in enumerate(steps, 1):
            say(f"[{number}/{len(steps)}] {step.__doc__}", flush=True)
            ok &= step(arguments, folder, report)
            report.write(folder / "index.html")  # What is done is kept, whatever comes of the rest.
    seconds = time.monotonic() - start
    report.text(f"Made in {seconds:.0f} seconds.")
    page = report.write(folder / "index.html")
    say(f"wrote {page} in {seconds:.0f} s" + ("" if ok else "; a verification FAILED"))
    return 0 if ok else 1


def _train(arguments, folder, report) -> bool:
    """Trains a convolutional VAE on the embedded digits, evaluates it and draws it."""
    import zoo
    from kvae import datasets, plots, training
    from kvae.evaluation import evaluate
    from kvae.evaluation.evaluate import figure_rows

    train = datasets.load("digits", "train", binarize="dynamic", seed=arguments.seed)
    validation = datasets.load("digits", "validation", binarize="dynamic", seed=arguments.seed)
    test = datasets.load("digits", "test", binarize="dynamic", seed=arguments.seed)
    # Two latent dimensions, so that the whole latent space can be drawn.
    vae = zoo.build(
        "conv_vae",
        event_shape=(8, 8, 1),
        latent_dim=2,
        filters=(16, 32),
        hidden=64,
        seed=arguments.seed,
    )
    settings = training.Settings(
        epochs=arguments.epochs,
        batch_size=64,
        learning_rate=1e-2,
        final_rate=0.02,
        monitor=None,
    )
    with progress.progress("training", arguments.epochs, "epoch") as update:
        trained = training.train(
            vae,
            train,
            settings,
            validation_data=validation,
            callbacks=[progress.epochs(update)],
        )
    with progress.progress("evaluating", len(test)) as update:
        result = evaluate(vae, test, num_samples=1000, seed=arguments.seed, progress=update)
    rows = figure_rows(result)
    common.table("conv_vae with 2 latents, digits test", ("quantity", "value", ""), rows)
    with io.atomic_write(folder / "digits.keras") as temporary:
        vae.save(temporary)

    report.heading("1. Trained here: a convolutional VAE on scikit-learn's digits")
    report.text(
        f"{len(train)} images of 8 × 8 pixels, binarized anew in every epoch; "
        f"{arguments.epochs} epochs of model.fit; 2 latent dimensions. Figures on the test split, "
        "in nats per image."
    )
    report.table(("quantity", "value", ""), rows)
    report.write(folder / "index.html")
    with report.drawing(folder / "loss.png") as path:
        plots.loss_curves(trained.history, path=path)
    with report.drawing(folder / "reconstructions.png") as path:
        plots.reconstructions(vae, test.examples, 10, path=path)
    with report.drawing(folder / "samples.png") as path:
        plots.samples(vae, 100, seed=arguments.seed, path=path)
    # The code of a grey image: what a user would encode, and less noisy than a binary draw.
    grey = datasets.load("digits", "train")
    with report.drawing(folder / "latent.png") as path:
        plots.latent_scatter(vae, grey.examples, grey.labels, path=path)
    with report.drawing(folder / "manifold.png") as path:
        plots.manifold(vae, 15, path=path)
    report.images(
        ("loss.png", "The negative ELBO and its two terms"),
        ("reconstructions.png", "Test images and their reconstructions"),
    )
    report.images(
        ("latent.png", "Every training digit at its posterior mean"),
        ("manifold.png", "The decoded plane: Gaussian quantiles in both directions"),
    )
    report.images(("samples.png", "Samples from the prior"))
    return True


def _pretrained(arguments, folder, report) -> bool:
    """Loads pretrained weights and generates from them."""
    import zoo
    from kvae import plots

    vae = zoo.load(PRETRAINED)
    card = zoo.card(PRETRAINED)
    with report.drawing(folder / "mnist_samples.png") as path:
        plots.samples(vae, 100, seed=arguments.seed, path=path)
    ends = [vae.sample(5, seed=arguments.seed + shift) for shift in (1, 2)]
    with report.drawing(folder / "mnist_interpolation.png") as path:
        plots.interpolation(vae, *ends, path=path)
    report.heading(f"2. Pretrained: {PRETRAINED}")
    report.text(f"{card.headline}, {card.metrics['nll']['num_samples']} importance samples.")
    report.code(f'import zoo\nvae = zoo.load("{PRETRAINED}")\nimages = vae.sample(100, seed=0)')
    report.images(
        ("mnist_samples.png", "Samples from the prior"),
        ("mnist_interpolation.png", "Walks between the codes of two samples"),
    )
    return True


def _exports(arguments, folder, report) -> bool:
    """Exports a SavedModel and a TFLite decoder, and runs both elsewhere."""
    import export
    import zoo

    vae = zoo.load(PRETRAINED)
    # A demo that runs again replaces what it made; versions in use are never overwritten.
    shutil.rmtree(folder / "serving", ignore_errors=True)
    reports = [
        export.verify(export.saved_model(vae, folder / "serving" / PRETRAINED), vae),
        export.verify(export.tflite(vae, folder / f"{PRETRAINED}.tflite"), vae),
    ]
    report.heading("3. Exported, and run outside the Python that wrote it")
    for result in reports:
        say(result)
        report.text(result.headline)
        report.table(*result.table())
    report.text(
        "Serve the first with TensorFlow Serving, which listens on every interface of the machine; "
        "run the second on a phone:"
    )
    report.code(
        "tensorflow_model_server --rest_api_port=8501 --model_name=mnist \\\n"
        f"  --model_base_path=$PWD/{folder}/serving/{PRETRAINED}"
    )
    return all(result.ok for result in reports)
