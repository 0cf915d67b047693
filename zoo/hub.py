"""Models on the Hugging Face Hub, loaded as `hf://user/repo@revision`.

A repository holds `README.md` (the model card), `config.json` (how the model is built, and all that
the card says), `model.weights.h5` and, of a model with a prior, `samples.png`. Nothing is pickled.
`zoo.pushing` puts models there.
"""

import contextlib
import pathlib
import re
from typing import TYPE_CHECKING

from kvae.utils import archives, configs, io, optional
from kvae.version import __version__
from zoo import weights
from zoo.cards import Card

if TYPE_CHECKING:
    from kvae.models import VAE

__all__ = [
    "CONFIG",
    "FORMAT",
    "PREFIX",
    "WEIGHTS",
    "card",
    "clear_errors",
    "is_address",
    "library",
    "load",
    "rebuild",
]

PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
FORMAT = 1  # Of the configuration; another one is of another version of kvae.


def is_address(name: str) -> bool:
    """Checks whether `name` is that of a model on the Hub, `hf://…`."""
    return isinstance(name, str) and name.startswith(PREFIX)


def load(address: str) -> "VAE":
    """Loads a model from the Hub; see `zoo.load`.

    Its files are numbers and text, and Keras reads its configuration in safe mode. The SHA-256 in
    `config.json` finds files that were truncated or altered after they were pushed; what the author
    pushed is up to the author, and `@` with a commit keeps it from changing. What it may cost this
    machine is bounded: see `kvae.utils.configs`.
    """
    folder = _fetch(address, CONFIG, WEIGHTS)
    config, found = _read(folder, address)
    path = folder / WEIGHTS
    if not path.exists():
        raise FileNotFoundError(f"{address} has no {WEIGHTS}: its upload was not finished.")
    # The file itself, not the link to it: deleting that would bring nothing new.
    weights.verify(path.resolve(), found.weights["sha256"])
    pushed = str(found.versions.get("kvae", "?"))[:20]
    with configs.errors(
        f"{address} cannot be built from its {CONFIG} by kvae {__version__} (it was pushed by "
        f"kvae {pushed})"
    ):
        archives.check_hdf5(path, WEIGHTS)
        with configs.weights_bound(path.stat().st_size, WEIGHTS):
            model = rebuild(config, found)
        model.load_weights(path)
    model.compile()
    return model


def card(address: str) -> Card:
    """Returns the card of a model on the Hub; see `zoo.card`."""
    return _read(_fetch(address, CONFIG), address)[1]


def _fetch(address: str, *files: str) -> pathlib.Path:
    """Downloads files of one commit, unless they are in the cache; returns their folder."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(
            f"A model on the Hub is hf://user/repo or hf://user/repo@revision, not {address!r}."
        )
    hub = library()
    full = io.disk_errors(hub.constants.HF_HUB_CACHE, f"{address} was not downloaded")
    with clear_errors(address), full:
        folder = hub.snapshot_download(
            match[1],
            revision=match[2],
            allow_patterns=list(files),
            library_name="kvae",
            library_version=__version__,
        )
    return pathlib.Path(folder)


def _read(folder: pathlib.Path, address: str) -> tuple[dict, Card]:
    path = folder / CONFIG
    if not path.exists():
        raise FileNotFoundError(f"{address} has no {CONFIG}: it is no model that kvae has pushed.")
    with configs.errors(f"The {CONFIG} of {address} is not one that kvae has pushed"):
        with open(path, "rb") as stream:
            config = configs.loads(stream.read(configs.MAX_BYTES + 1), "it")
        form = config["kvae_format"]
        found = Card(**config["card"]) if form == FORMAT else None
    if found is None:
        raise ValueError(
            f"{address} has the format {str(form)[:20]!r}, and kvae {__version__} reads {FORMAT}: "
            "it was pushed by a newer kvae."
        )
    if not found.trained or "sha256" not in found.weights:
        raise ValueError(f"The {CONFIG} of {address} names no weights.")
    return config, found


def rebuild(config: dict, found: Card) -> "VAE":
    """Makes the model of a repository, without its weights.

    Args:
        config: dict. What the repository's configuration says; its `model` is `None` for a model of
            the zoo, which its card describes, and else what Keras serialized.
        found: `Card`. The model's card.

    Raises:
        ValueError: for the configuration of something else.
    """
    import keras

    from kvae.models import VAE
    from zoo.building import build

    if config["model"] is None:
        return build(found.architecture, **found.arguments)
    model = keras.saving.deserialize_keras_object(config["model"], safe_mode=True)
    if not isinstance(model, VAE):
        raise ValueError(f"it describes a {type(model).__name__}, not a kvae.VAE")
    return model


def library():
    """Returns huggingface_hub.

    Raises:
        ModuleNotFoundError: where it is not installed, with the command that installs it.
    """
    return optional.load("huggingface_hub", purpose="The Hugging Face Hub")


@contextlib.contextmanager
def clear_errors(address: str):
    """Turns what goes wrong with a request to the Hub into errors of one line each."""
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
