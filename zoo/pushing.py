"""Puts models on the Hugging Face Hub, with a model card.

A repository holds `README.md` (the model card), `config.json` (how the model is built, and all that
the card says), `model.weights.h5` and, of a model with a prior, `samples.png`. Nothing is pickled.
"""

import dataclasses
import json
import pathlib
import re
import shutil
import tempfile

import keras

from kvae.models import VAE
from kvae.utils import io
from kvae.utils.pages import drawing
from kvae.version import __version__
from zoo import hub, packing, pictures, weights
from zoo.cards import Card, library_versions
from zoo.loading import card, load
from zoo.markdown import facts

__all__ = ["push_to_hub"]

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_PICTURE = "samples.png"
# The data sets' names on the Hub.
_DATASETS = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}


def push_to_hub(
    model,
    repo_id: str,
    *,
    metrics=None,
    dataset: str | None = None,
    license: str | None = None,
    revision: str | None = None,
    private: bool = False,
    message: str | None = None,
    token: str | None = None,
) -> str:
    """Puts a model on the Hugging Face Hub, its card becoming the Hub's model card.

    Needs huggingface_hub (`pip install 'keras-kvae[hub]'`) and a token that may write (`hf auth
    login`, `HF_TOKEN`, or `token`). What is there already under the same names is replaced, by a
    commit.

    Args:
        model: str, a name of `zoo.list_models()`; or a `kvae.VAE` of your own, which is stored
            with the configuration of its layers and parts.
        repo_id: str. `"user/repo"` or `"organization/repo"`, made when it does not exist.
        metrics: dict. What `kvae.evaluation.evaluate` measured of your model. Defaults to `None`:
            nothing is said of it.
        dataset: str. What your model was trained on. Defaults to `None`: what its `schema` says.
        license: str. Of your model's weights, as the Hub calls it, e.g. `"apache-2.0"`. Defaults to
            `None`.
        revision: str. A branch, made when it does not exist. Defaults to `None`: the main one.
        private: bool. Whether a new repository is private. Defaults to `False`.
        message: str. Of the commit. Defaults to the model's name.
        token: str. Defaults to `None`: that of the login.

    Returns:
        The address of exactly what was pushed, `"hf://user/repo@commit"`, for `zoo.load`.

    Raises:
        ModuleNotFoundError: without huggingface_hub.
        ValueError: for an unknown name, a model without weights or one that its configuration does
            not describe (with layers that only exist in your program, for instance), or metrics of
            a zoo model.
        PermissionError: without a token that may write there.
        ConnectionError: when the Hub cannot be reached.

    Example:

    ```python
    address = zoo.push_to_hub("dense_vae.mnist", "me/dense-vae-mnist")
    vae = zoo.load(address)
    ```
    """
    if not _REPO.fullmatch(repo_id):
        raise ValueError(f"`repo_id` is 'user/repo', not {repo_id!r}.")
    library = hub.library()
    full = io.disk_errors(tempfile.gettempdir(), "nothing was pushed")
    with full, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if isinstance(model, str):
            if metrics is not None or dataset is not None or license is not None:
                raise ValueError(
                    f"`metrics`, `dataset` and `license` of {model} are those of its card; give "
                    "them with a model of your own."
                )
            found, vae = _write_shipped(model, folder)
        else:
            told = {"metrics": dict(metrics or {}), "license": license or ""}
            told["dataset"] = _told_of(model, dataset)
            found, vae = _write_own(model, repo_id, folder, told)
        if vae.prior is not None:
            with drawing(folder / _PICTURE) as path:
                pictures.save(pictures.samples(vae), path)
        text = _model_card(
            library,
            found,
            repo_id,
            vae.prior is not None,
            has_picture=(folder / _PICTURE).is_file(),
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        api = library.HfApi(token=token, library_name="kvae", library_version=__version__)
        with hub.clear_errors(f"{hub.PREFIX}{repo_id}"):
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=message or found.name,
            )
    return f"{hub.PREFIX}{repo_id}@{commit.oid}"


def _told_of(model, name: str | None) -> dict:
    """Returns what a card says of the data of a model: their name, and those of their classes."""
    schema = getattr(model, "schema", None)
    name = name or (schema.name if schema is not None else "")
    names = {} if schema is None or not schema.class_names else {"classes": [*schema.class_names]}
    return {**({"name": name} if name else {}), **names}


def _write_shipped(name: str, folder: pathlib.Path):
    """Writes the files of a model of the zoo, which its card describes."""
    found = card(name)
    vae = load(name)
    shutil.copyfile(weights.find(found), folder / hub.WEIGHTS)
    return _write_config(folder, found, None), vae


def _write_own(model, repo_id: str, folder: pathlib.Path, told: dict):
    """Writes the files of any model, with the configuration that Keras gives of it."""
    if not isinstance(model, VAE):
        raise ValueError(
            f"`model` is a name of zoo.list_models() or a kvae.VAE, not a {type(model).__name__}."
        )
    description = keras.saving.serialize_keras_object(model)
    description.pop("compile_config", None)  # What is loaded is compiled anew.
    found = Card(
        name=repo_id.partition("/")[2],
        architecture=model.name,
        arguments={},
        preprocessing={"shape": list(model.event_shape or ())},
        recipe={},
        cost={"parameters": model.count_params()},
        published=None,
        weights={},
        paper="",
        versions=library_versions(),
        **told,
    )
    try:
        description = json.loads(json.dumps(description))
        again = hub.rebuild({"model": description}, found)
        again.set_weights(model.get_weights())
    except Exception as error:
        raise ValueError(
            "This model cannot be built again from its configuration, so it cannot be shared: "
            f"{error}"
        ) from error
    packing.save(again, folder / hub.WEIGHTS)  # Of a model that was never trained: no optimizer.
    return _write_config(folder, found, description), again


def _write_config(folder: pathlib.Path, found: Card, description: dict | None) -> Card:
    path = folder / hub.WEIGHTS
    found = dataclasses.replace(found, weights=weights.describe(path))
    config = {
        "library_name": "kvae",
        "kvae_format": hub.FORMAT,
        "card": found.to_dict(),
        "model": description,
    }
    (folder / hub.CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return found


def _model_card(library, found: Card, repo_id: str, generates: bool, has_picture: bool) -> str:
    """Returns the Hub's model card: metadata in YAML, then what the card says."""
    images = generates and len(found.preprocessing["shape"]) == 3
    task = "unconditional-image-generation" if images else "feature-extraction"
    dataset = found.dataset.get("name")
    data = library.ModelCardData(
        license=found.license.lower() or None,
        library_name="kvae",
        pipeline_tag=task,
        tags=["kvae", "keras", "tensorflow", "vae" if generates else "autoencoder"],
        datasets=[_DATASETS[dataset]] if dataset in _DATASETS else None,
        metrics=sorted(found.metrics) or None,
        model_name=found.name,
        eval_results=[
            library.EvalResult(
                task_type=task,
                dataset_type=_DATASETS.get(dataset, dataset or "unknown"),
                dataset_name=dataset or "unknown",
                dataset_split="test",
                metric_type=name,
                metric_name=text,
                metric_value=value,
            )
            for name, text, value in _measured(found.metrics)
        ]
        or None,
    )
    picture = f"![samples from the prior]({_PICTURE})\n\n" if has_picture else ""
    use = "images = vae.sample(4, seed=1)" if generates else "codes = vae.encode(images)"
    return f"""---
{data.to_yaml()}
---

# {found.name}

{picture}{"A variational autoencoder" if generates else "An autoencoder"} for Keras 3 and \
TensorFlow, made with kvae.

```python
import zoo  # pip install "keras-kvae[hub]"

vae = zoo.load("{hub.PREFIX}{repo_id}")
{use}
```

{facts(found)}

`{hub.WEIGHTS}` is checked by the SHA-256 in `{hub.CONFIG}`, which also says how the model \
is built. No file is pickled.
"""


def _measured(metrics):
    """Yields name, words and value of each figure; its error is part of the words."""
    for name, value in metrics.items():
        if isinstance(value, dict) and name in value:
            error = value.get("standard_error")
            words = name if error is None else f"{name} ± {error:.2g} (standard error)"
            yield name, words, float(value[name])
        elif isinstance(value, (int, float)):
            yield name, name, float(value)
