"""SavedModels in the folder layout of TensorFlow Serving."""

import json
import os
import pathlib

from kvae import io

__all__ = ["saved_model", "versions"]

METADATA = pathlib.PurePath("assets.extra", "kvae.json")


def versions(directory: str | os.PathLike) -> list[int]:
    """Lists the versions in a model's folder, smallest first."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    names = [child.name for child in directory.iterdir() if child.is_dir()]
    return sorted({int(name) for name in names if name.isascii() and name.isdigit()})


def saved_model(model, directory: str | os.PathLike, version: int | None = None) -> pathlib.Path:
    """Writes a model as `directory/VERSION/`, a SavedModel that TensorFlow Serving can load.

    The signatures, with their inputs and outputs:

    - `serving_default` (decode): `z` `[batch, latent_dim]` to `image` `[batch, *event]`, the mean
      of p(x|z), and the likelihood's parameters, e.g. `logits`.
    - `encode`: `image` to the posterior's parameters, e.g. `z_mean` and `z_log_var`.
    - `reconstruct`: `image` to `image`, through the posterior mean.
    - `generate`: `seed` int64 `[batch]` to `image` and `z`, drawn from the prior.

    Those of a conditional model take a `label` too, int64 `[batch]`: the class of each row.

    All take any batch size; all numbers but seeds and labels are float32. In `generate` each row
    has its own seed: its `z` has the same bits whatever it is batched with, and its `image` is
    `model.sample(1, seed=seed)`, with the row's label, up to the rounding of a batched product
    (about 1e-7). A model without a prior has no `generate`.

    The version appears at once and whole: it is written beside and then renamed, so a server that
    polls the folder never sees half of it. `assets.extra/kvae.json` describes it for clients.

    Args:
        model: `kvae.VAE`. Built.
        directory: str or path. The model's folder; made when it is not there.
        version: int. At least 1. Defaults to the number after the largest one there.

    Returns:
        Path of the version folder.

    Raises:
        FileExistsError: if the version exists. It is never overwritten.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        TypeError: if `model` is no `kvae.VAE`, or `version` no integer.
        ValueError: if the model is not built, or `version` is below 1.

    Example:

    ```python
    path = export.saved_model(zoo.load("conv_vae.digits"), "serving/digits")   # serving/digits/1
    ```
    """
    from export import endpoints

    endpoints.exportable(model)
    directory = pathlib.Path(directory)
    if version is not None:
        if isinstance(version, bool) or not hasattr(version, "__index__"):
            raise TypeError(f"A version is an integer, not {version!r}.")
        if int(version) < 1:
            raise ValueError(f"A version is at least 1, not {version}.")
        return _publish(model, directory, int(version))
    while True:
        number = max(versions(directory), default=0) + 1
        try:
            return _publish(model, directory, number)
        except FileExistsError:
            if number not in versions(directory):
                raise
            # Another process published this number meanwhile: take the next.


def _publish(model, directory: pathlib.Path, version: int) -> pathlib.Path:
    from export import endpoints

    if version in versions(directory):  # `00001` is version 1 as well.
        raise FileExistsError(
            f"Version {version} exists in {directory} and is not overwritten. Leave `version` out "
            "to publish the next one."
        )
    path = directory / str(version)
    with io.atomic_directory(path) as temporary:
        endpoints.write(endpoints.endpoints(model), temporary)
        file = temporary / METADATA
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(_describe(model, temporary), indent=2) + "\n")
    return path


def _describe(model, path: pathlib.Path) -> dict:
    """What a client needs to know, in JSON."""
    import keras
    import tensorflow as tf

    from export.runtime import signatures
    from kvae.version import __version__

    def tensors(infos):
        return {
            name: {"dtype": info.dtype, "shape": list(info.shape)} for name, info in infos.items()
        }

    parts = {
        kind: None if (part := getattr(model, kind)) is None else type(part).__name__
        for kind in ("posterior", "prior", "likelihood")
    }
    return {
        "library": "kvae",
        "name": model.name,
        "latent_dim": model.latent_dim,
        "event_shape": list(model.event_shape),
        "num_classes": model.num_classes,
        **parts,
        "signatures": {
            name: {"inputs": tensors(item.inputs), "outputs": tensors(item.outputs)}
            for name, item in signatures.read_signatures(path).items()
        },
        "versions": {
            "kvae": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
