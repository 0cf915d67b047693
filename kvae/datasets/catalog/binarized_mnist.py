"""MNIST as Larochelle and Murray binarized it once: the file that static figures are of."""

import hashlib
import pathlib

import numpy as np

from kvae.datasets import files
from kvae.datasets.dataset_info import SPLITS, DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.splits import Splits

_PIXELS = 784
# Two characters for each pixel: "0" or "1", and a space or the end of the line.
_LINE = 2 * _PIXELS
# Those of the published files, as TensorFlow Datasets lists them.
_SHA256 = {
    "train": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "validation": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "test": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}


@register(
    "binarized_mnist",
    title="28 x 28 handwritten digits, black and white by one published draw",
    event_shape=(28, 28, 1),
    train=50_000,
    validation=10_000,
    test=10_000,
    split_rule="that of the published files",
    license="CC BY-SA 3.0",
    source="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    reference="H. Larochelle, I. Murray, The neural autoregressive distribution estimator, "
    "AISTATS 2011",
    files=tuple(
        f"binarized_mnist/binarized_mnist_{part}.amat" for part in ("train", "valid", "test")
    ),
)
def read_binarized_mnist(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads the three text files of `<folder>/binarized_mnist`; there is no downloader for them.

    The pixels come as the intensities 0 and 255, and there are no labels.
    """
    local = files.local_files(info, folder)
    if local is None:
        raise files.missing(info, folder)
    return {
        split: (_read(path, info.splits[split], _SHA256[split]), None)
        for split, path in zip(SPLITS, local, strict=True)
    }


def _read(path: pathlib.Path, count: int, sha256: str) -> np.ndarray:
    """Returns the images `[count, 28, 28]` of a file, and refuses any other file.

    Raises:
        ValueError: for a file of another size, with other characters or other pixels.
    """

    def refused(what: str) -> ValueError:
        return ValueError(
            f"{path} is not the published file: {what}. Delete it and fetch the original again."
        )

    size = path.stat().st_size
    if size != count * _LINE:
        raise refused(
            f"it has {size:,} bytes, and {count:,} lines of {_PIXELS} pixels have {count * _LINE:,}"
        )
    content = path.read_bytes()
    characters = np.frombuffer(content, np.uint8).reshape(count, _LINE)
    pixels, between = characters[:, ::2], characters[:, 1::2]
    ends = (between[:, -1] == ord("\n")).all()
    if not (ends and (between[:, :-1] == ord(" ")).all() and np.isin(pixels, (48, 49)).all()):
        raise refused(f"a line is not {_PIXELS} times 0 or 1 with spaces between them")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise refused(f"its SHA-256 is {found[:12]}…, not {sha256[:12]}…")
    return (pixels - np.uint8(48)).reshape(count, 28, 28) * np.uint8(255)
