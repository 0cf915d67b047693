"""Models on the Hugging Face Hub: pushed with a model card, loaded as `hf://user/repo@revision`.

A repository holds `README.md` (the model card), `config.json` (how the model is built, and all that
the card says), `model.weights.h5` and, of a model with a prior, `samples.png`. Nothing is pickled.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import tempfile

from kvae.utils import configs, io
from kvae.utils.pages import drawing
from kvae.version import __version__
from zoo import weights
from zoo.cards import Card

__all__ = ["card", "is_address", "load", "push_to_hub"]

_PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_CONFIG, _WEIGHTS, _PICTURE = "config.json", "model.weights.h5", "samples.png"
_FORMAT = 1
# The data sets' names on the Hub.
_DATASETS = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}


def is_address(name: str) -> bool:
    """Whether `name` is that of a model on the Hub, `hf://…`."""
    return isinstance(name, str) and name.startswith(_PREFIX)


# Loading.


def load(address: str):
    """Loads a model from the Hub; see `zoo.load`.

    Its files are numbers and text, and Keras reads its configuration in safe mode. The SHA-256 in
    `config.json` finds files that were truncated or altered after they were pushed; what the author
    pushed is up to the author, and `@` with a commit keeps it from changing. What it may cost this
    machine is bounded: see `kvae.utils.configs`.
    """
    folder = _fetch(address, _CONFIG, _WEIGHTS)
    config, found = _read(folder, address)
    path = folder / _WEIGHTS
    if not path.exists():
        raise FileNotFoundError(f"{address} has no {_WEIGHTS}: its upload was not finished.")
    # The file itself, not the link to it: deleting that would bring nothing new.
    weights.verify(path.resolve(), found.weights["sha256"])
    pushed = str(found.versions.get("kvae", "?"))[:20]
    with configs.errors(
        f"{address} cannot be built from its {_CONFIG} by kvae {__version__} (it was pushed by "
        f"kvae {pushed})"
    ):
        io.check_hdf5(path, _WEIGHTS)
        with configs.weights_bound(path.stat().st_size, _WEIGHTS):
            model = _rebuild(config, found)
        model.load_weights(path)
    model.compile()
    return model


def card(address: str) -> Card:
    """Returns the card of a model on the Hub; see `zoo.card`."""
    return _read(_fetch(address, _CONFIG), address)[1]


def _fetch(address: str, *files: str) -> pathlib.Path:
    """Downloads files of one commit, unless they are in the cache; returns their folder."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(
            f"A model on the Hub is hf://user/repo or hf://user/repo@revision, not {address!r}."
        )
    hub = _library()
    full = io.disk_errors(hub.constants.HF_HUB_CACHE, f"{address} was not downloaded")
    with _clear_errors(address), full:
        folder = hub.snapshot_download(
            match[1],
            revision=match[2],
            allow_patterns=list(files),
            library_name="kvae",
            library_version=__version__,
        )
    return pathlib.Path(folder)


def _read(folder: pathlib.Path, address: str) -> tuple[dict, Card]:
    path = folder / _CONFIG
    if not path.exists():
        raise FileNotFoundError(f"{address} has no {_CONFIG}: it is no model that kvae has pushed.")
    with configs.errors(f"The {_CONFIG} of {address} is not one that kvae has pushed"):
        with open(path, "rb") as stream:
            config = configs.loads(stream.read(configs.MAX_BYTES + 1), "it")
        form = config["kvae_format"]
        found = Card(**config["card"]) if form == _FORMAT else None
    if found is None:
        raise ValueError(
            f"{address} has the format {str(form)[:20]!r}, and kvae {__version__} reads {_FORMAT}: "
            "it was pushed by a newer kvae."
        )
    if not found.trained or "sha256" not in found.weights:
        raise ValueError(f"The {_CONFIG} of {address} names no weights.")
    return config, found


def _rebuild(config: dict, found: Card):
    """The model of a repository, without its weights."""
    if config["model"] is None:
        from zoo.registry import build

        return build(found.architecture, **found.arguments)
    import keras

    import kvae

    model = keras.saving.deserialize_keras_object(config["model"], safe_mode=True)
    if not isinstance(model, kvae.VAE):
        raise ValueError(f"it describes a {type(model).__name__}, not a kvae.VAE")
    return model


# Pushing.


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

    Needs huggingface_hub (`pip install "kvae[hub]"`) and a token that may write (`hf auth login`,
    `HF_TOKEN`, or `token`). What is there already under the same names is replaced, by a commit.

    Args:
        model: str, a name of `zoo.list_models()`; or a `kvae.VAE` of your own, which is stored
            with the configuration of its layers and parts.
        repo_id: str. `"user/repo"` or `"organization/repo"`, made when it does not exist.
        metrics: dict. What `kvae.evaluation.evaluate` measured of your model. Defaults to `None`:
            nothing is said of it.
        dataset: str. What your model was trained on. Defaults to `None`.
        license: str. Of your model's weights, as the Hub calls it, e.g. `"apache-2.0"`. Defaults to
            `None`.
        revision: str. A branch, made when it does not exist. Defaults to `None`: the main one.
        private: bool. Whether a new repository is private. Defaults to `False`.
        message: str. Of the commit. Defaults to the model's name.
        token: str. Defaults to `None`: that of the login.

    Returns:
        The address of exactly what was pushed, `"hf://user/repo@commit"`, for `zoo.load`.

    Raises:
        ImportError: without huggingface_hub.
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
    hub = _library()
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
            facts = {"metrics": dict(metrics or {}), "license": license or ""}
            facts["dataset"] = {} if dataset is None else {"name": dataset}
            found, vae = _write_own(model, repo_id, folder, facts)
        if vae.prior is not None:
            from zoo import pictures

            with drawing(folder / _PICTURE) as path:
                pictures.save(pictures.samples(vae), path)
        card = _model_card(
            hub, found, repo_id, vae.prior is not None, has_picture=(folder / _PICTURE).is_file()
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        api = hub.HfApi(token=token, library_name="kvae", library_version=__version__)
        with _clear_errors(f"{_PREFIX}{repo_id}"):
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=message or found.name,
            )
    return f"{_PREFIX}{repo_id}@{commit.oid}"


def _write_shipped(name: str, folder: pathlib.Path):
    """Writes the files of a zoo model: its configuration is the name of its architecture."""
    import shutil

    import zoo

    found = zoo.card(name)
    vae = zoo.load(name)
    shutil.copyfile(weights.find(found), folder / _WEIGHTS)
    return _write_config(folder, found, None), vae


def _write_own(model, repo_id: str, folder: pathlib.Path, facts: dict):
    """Writes the files of any model, with the configuration that Keras gives of it."""
    import keras
    import numpy as np
    import tensorflow as tf

    import kvae

    if not isinstance(model, kvae.VAE):
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
        versions={
            "kvae": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
        **facts,
    )
    try:
        description = json.loads(json.dumps(description))
        again = _rebuild({"model": description}, found)
        again.set_weights(model.get_weights())
    except Exception as error:
        raise ValueError(
            "This model cannot be built again from its configuration, so it cannot be shared: "
            f"{error}"
        ) from error
    again.save_weights(folder / _WEIGHTS)  # Of a model that was never trained: no optimizer.
    return _write_config(folder, found, description), again


def _write_config(folder: pathlib.Path, found: Card, description: dict | None) -> Card:
    path = folder / _WEIGHTS
    facts = {"file": _WEIGHTS, "sha256": io.sha256_file(path), "bytes": path.stat().st_size}
    found = dataclasses.replace(found, weights=facts)
    config = {
        "library_name": "kvae",
        "kvae_format": _FORMAT,
        "card": found.to_dict(),
        "model": description,
    }
    (folder / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return found


def _model_card(hub, found: Card, repo_id: str, generates: bool, has_picture: bool) -> str:
    """The Hub's model card: metadata in YAML, then what the card says."""
    from zoo import models_page

    images = generates and len(found.preprocessing["shape"]) == 3
    task = "unconditional-image-generation" if images else "feature-extraction"
    dataset = found.dataset.get("name")
    data = hub.ModelCardData(
        license=found.license.lower() or None,
        library_name="kvae",
        pipeline_tag=task,
        tags=["kvae", "keras", "tensorflow", "vae" if generates else "autoencoder"],
        datasets=[_DATASETS[dataset]] if dataset in _DATASETS else None,
        metrics=sorted(found.metrics) or None,
        model_name=found.name,
        eval_results=[
            hub.EvalResult(
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
import zoo  # pip install "kvae[hub]"

vae = zoo.load("{_PREFIX}{repo_id}")
{use}
```

{models_page.facts(found)}

`{_WEIGHTS}` is checked by the SHA-256 in `{_CONFIG}`, which also says how the model is built. No
file is pickled.
"""


def _measured(metrics):
    """Name, words and value of each figure; the error goes into the words."""
    for name, value in metrics.items():
        if isinstance(value, dict) and name in value:
            error = value.get("standard_error")
            words = name if error is None else f"{name} ± {error:.2g} (standard error)"
            yield name, words, float(value[name])
        elif isinstance(value, (int, float)):
            yield name, name, float(value)


# The library.


def _library():
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            "Models on the Hugging Face Hub need huggingface_hub: pip install 'kvae[hub]' (or "
            "huggingface_hub alone)."
        ) from None
    return huggingface_hub


@contextlib.contextmanager
def _clear_errors(address: str):
    """Says in one line what was wrong with a request to the Hub."""
    from huggingface_hub import constants, errors

    # Of its HTTP library, httpx or another: failed connections are of this class.
    http_error = errors.HfHubHTTPError.__mro__[1]
    where = constants.ENDPOINT
    login = "`hf auth login`, HF_TOKEN or token= gives one"
    try:
        yield
    except errors.GatedRepoError:
        raise PermissionError(
            f"{address} is open only to those who accept its terms on {where}, with their token: "
            f"{login}."
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"There is no {address} on {where}, or it is private and your token may not read it "
            f"({login})."
        ) from None
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(
            f"{address}: there is no such branch, tag or commit in this repository."
        ) from None
    except errors.LocalEntryNotFoundError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConnectionError(
            f"Cannot reach {where} for {address}, which is not in the cache: {reason}"
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise PermissionError(
                f"{where} refuses this for {address}: it takes a token with the right to ({login})."
            ) from None
        raise OSError(f"{where} answers {' '.join(str(error).split())} for {address}.") from None
    except (errors.OfflineModeIsEnabled, http_error) as error:
        raise ConnectionError(f"Cannot reach {where} for {address}: {error}") from None
