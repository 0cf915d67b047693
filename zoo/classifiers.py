"""Small classifiers, whose features measure the quality of generated images.

`python -m zoo.classifiers mnist` trains one anew and writes its weights and its card, as they are
shipped; the card says how long that took.
"""

import argparse
import pathlib
import platform

import keras
import numpy as np
from keras import layers

import kvae
from kvae.evaluation.samples.features import BATCH_SIZE, register_features
from kvae.utils import names
from zoo import packing, weights
from zoo.cards import Card, library_versions
from zoo.networks import CHANNELS_LAST

__all__ = ["build_classifier", "list_classifiers", "load_classifier", "train_classifier"]

_FOLDER = pathlib.Path(__file__).parent
_RECIPES = {
    "digits": {"epochs": 100, "batch_size": 64, "learning_rate": 3e-3},
    "mnist": {"epochs": 8, "batch_size": 128, "learning_rate": 2e-3},
}


def build_classifier(event_shape, num_classes: int, width: int = 64) -> keras.Model:
    """Builds a convolutional classifier: images to `{"features": [n, width], "logits": ...}`.

    Args:
        event_shape: tuple. `(height, width, channels)`; images are in [0, 1].
        num_classes: int.
        width: int. Number of features, the last hidden layer. Defaults to `64`.
    """
    inputs = keras.Input(event_shape, name="image")
    x = inputs
    for index, filters in enumerate((16, 32)):
        x = layers.Conv2D(
            filters,
            3,
            strides=2,
            padding="same",
            activation="relu",
            name=f"down_{index}",
            **CHANNELS_LAST,
        )(x)
    x = layers.Flatten(name="flatten", **CHANNELS_LAST)(x)
    features = layers.Dense(width, "relu", name="hidden")(x)
    logits = layers.Dense(num_classes, name="classes")(features)
    return keras.Model(inputs, {"features": features, "logits": logits}, name="classifier")


def list_classifiers() -> list[str]:
    """Returns the names of the data sets that there is a trained classifier of, sorted."""
    return sorted(path.stem for path in (_FOLDER / "cards" / "classifiers").glob("*.json"))


def classifier_card(name: str) -> Card:
    """Returns the card of a classifier; its metrics are accuracies on the test set.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    if name not in list_classifiers():
        raise names.unknown_name("classifier", name, list_classifiers())
    path = _FOLDER / "cards" / "classifiers" / f"{name}.json"
    return Card.read(path, f"classifier.{name}")


def load_classifier(name: str) -> keras.Model:
    """Loads the classifier of a data set, its weights checked by hash.

    It was trained on intensities and on their binarizations alike, so that it knows both.

    Raises:
        ValueError: for an unknown name, or weights that are not what the card says.

    Example:

    ```python
    classifier = zoo.load_classifier("mnist")
    classifier(zoo.load("dense_vae.mnist").sample(5, seed=0))["features"]    # [5, 64]
    ```
    """
    card = classifier_card(name)
    path = weights.find(card)
    model = build_classifier(tuple(card.arguments["event_shape"]), card.arguments["num_classes"])
    model.load_weights(path)
    return model


def _register_features(name: str) -> None:
    """Gives the last hidden layer of a classifier the name of its dataset among the features."""

    @register_features(name)
    def classifier_features():
        classifier = load_classifier(name)

        def features(images):
            images = np.asarray(images, np.float32)
            if images.shape[1:] != classifier.input_shape[1:]:
                raise ValueError(
                    f"The classifier of {name} takes images {classifier.input_shape[1:]}, not "
                    f"{images.shape[1:]}. Give `features` of another kind, e.g. 'pixels'."
                )
            return classifier.predict(images, batch_size=BATCH_SIZE, verbose=0)["features"]

        features.__name__ = f"classifier of {name}"
        return features


for _name in list_classifiers():
    _register_features(_name)


def train_classifier(name: str, directory, *, seed: int = 0, limit: int | None = None) -> Card:
    """Trains the classifier of a labelled data set and writes its weights and its card.

    Args:
        name: str. A data set with a recipe, `"digits"` or `"mnist"`.
        directory: path. Gets `weights/classifier.NAME.weights.h5`, `cards/classifiers/NAME.json`.
        seed: int. Of weights, order and binarizations. Defaults to `0`.
        limit: int or `None`. Train on the first examples only, for a trial.

    Raises:
        ValueError: for a data set without a recipe.
    """
    if name not in _RECIPES:
        raise names.unknown_name("classifier", name, _RECIPES)
    recipe, info = _RECIPES[name], kvae.datasets.info(name)
    train = kvae.datasets.load(name, "train")[:limit]
    batch_size = recipe["batch_size"]
    with kvae.random.initial_weights(seed):
        model = build_classifier(info.event_shape, info.classes)
    trained = kvae.training.train(
        keras.Model(model.input, model.output["logits"]),
        _half_binarized(train, batch_size, seed),
        kvae.training.Settings(
            **recipe,
            monitor=None,
            compile={"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        ),
        steps_per_epoch=train.steps(batch_size),
    )

    directory = pathlib.Path(directory)
    path = directory / "weights" / f"classifier.{name}.weights.h5"
    bare = build_classifier(info.event_shape, info.classes)  # Without the optimizer.
    bare.set_weights(model.get_weights())
    packing.save(bare, path)
    tests = {
        key: kvae.datasets.load(name, "test", binarize=binarize)
        for key, binarize in (("accuracy", None), ("accuracy_binarized", "static"))
    }
    card = Card(
        name=f"classifier.{name}",
        architecture="classifier",
        arguments={"event_shape": list(info.event_shape), "num_classes": info.classes},
        preprocessing={"shape": list(info.event_shape), "range": [0.0, 1.0], "binarize": "half"},
        dataset={
            "name": name,
            "sha256": {
                split: kvae.datasets.load(name, split).sha256 for split in kvae.datasets.SPLITS
            },
        },
        recipe={
            "command": f"python -m zoo.classifiers {name}",
            "seed": seed,
            **recipe,
            "optimizer": "Adam",
            "schedule": "half cosine to 0",
        },
        cost={
            "seconds": round(trained.seconds, 1),
            "machine": f"{platform.machine()}, shared with other work",
            "parameters": bare.count_params(),
        },
        metrics={key: _accuracy(bare, data) for key, data in tests.items()},
        published=None,
        weights=weights.describe(path),
        license="Apache-2.0",
        paper="",
        versions=library_versions(),
    )
    card.write(directory / "cards" / "classifiers" / f"{name}.json")
    return card


def _half_binarized(data, batch_size: int, seed: int):
    """Yields batches of images and labels without an end, each epoch in another order.

    Every second image is a draw of zeros and ones.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    while True:
        order = generator.permutation(len(data))
        x, y = data.examples[order], data.labels[order]
        x[::2] = generator.random(x[::2].shape, np.float32) < x[::2]
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            yield x[rows], y[rows]


def _accuracy(model, data) -> float:
    logits = model.predict(data.examples, batch_size=500, verbose=0)["logits"]
    return float(np.mean(logits.argmax(axis=1) == data.labels))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.classifiers", description=__doc__)
    parser.add_argument("name", choices=sorted(_RECIPES))
    parser.add_argument("--directory", type=pathlib.Path, default=_FOLDER)
    arguments = parser.parse_args()
    card = train_classifier(arguments.name, arguments.directory)
    print(f"{card.name}: {card.metrics}, {card.weights['bytes']} bytes, {card.cost['seconds']} s")


if __name__ == "__main__":
    _main()
