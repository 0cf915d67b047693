"""The faces of Brendan Frey in a video."""

import pathlib

from kvae.datasets import files
from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.splits import PERMUTED, Splits, split_by_permutation


@register(
    "frey_faces",
    title="28 x 20 grey frames of one face in a video",
    event_shape=(28, 20, 1),
    train=1565,
    validation=200,
    test=200,
    split_rule=f"{PERMUTED}; neighbouring frames are alike, so test figures are optimistic",
    license="not stated by its author",
    source="https://cs.nyu.edu/~roweis/data.html",
    reference="S. Roweis, L. Saul, G. Hinton, Global coordination of local linear models, "
    "NIPS 14, 2002 (images by B. Frey)",
    files=("frey_faces.npz",),
)
def read_frey_faces(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads `<folder>/frey_faces.npz`; there is no downloader for it."""
    local = files.local_files(info, folder)
    if local is None:
        raise files.missing(info, folder)
    (images,) = files.read_npz(local[0], ("images",))
    return split_by_permutation(info, images, None)
