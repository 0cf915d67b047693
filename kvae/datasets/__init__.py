"""Data: named datasets, arrays, folders of images, and one fixed way to split and binarize them.

| function | gives |
|---|---|
| `load(name, split)` | a split of a dataset of `names()`, e.g. `mnist` |
| `register(name, ...)` | a name for data of your own, read by a function |
| `Sprites()` | all 737,280 sprites by their factors, drawn when they are needed |
| `from_array(x)` | a dataset of the user's own tables, signals or images |
| `padded(sequences)`, `unpadded(x)` | sequences of different lengths as one array, and back |
| `from_folder(path, image_shape)` | a dataset of the PNG and JPEG files below a folder |
| `train_validation_split(dataset)` | two datasets of one |
| `few_labels(dataset, per_class)` | the same, with a few labels known and -1 for the others |
| `Shards(path)`, `ImageFolder(path, image_shape)` | data read while a model trains |
| `from_path(path, split)` | a split of a folder, or of a NumPy, CSV or Parquet file |
| `Source(path)` | what there is at a path: its shape, its schema, its splits |
| `write_shards(data, path)` | a folder of shards |
| `info(name)`, `names()` | the facts of the named datasets |

Other functions return `Dataset`s. A `tf.data.Dataset` of batches needs no conversion: give it to
`fit` as it is.
"""

from kvae.datasets.arrays import from_array, train_validation_split
from kvae.datasets.base_stream import Stream
from kvae.datasets.catalog.sprites import Sprites
from kvae.datasets.dataset import Dataset
from kvae.datasets.dataset_info import SPLITS, DatasetInfo
from kvae.datasets.few_labels import few_labels
from kvae.datasets.folders import folder_classes, from_folder
from kvae.datasets.idx import read_idx
from kvae.datasets.image_folder import ImageFolder
from kvae.datasets.registry import info, load, names, register
from kvae.datasets.schema import Column, Schema
from kvae.datasets.sequences import padded, unpadded
from kvae.datasets.shards import Shards, write_shards
from kvae.datasets.source import Source, from_path
from kvae.utils.register import import_modules

import_modules("kvae.datasets.catalog")

__all__ = [
    "SPLITS",
    "Column",
    "Dataset",
    "DatasetInfo",
    "ImageFolder",
    "Schema",
    "Shards",
    "Source",
    "Sprites",
    "Stream",
    "few_labels",
    "folder_classes",
    "from_array",
    "from_folder",
    "from_path",
    "info",
    "load",
    "names",
    "padded",
    "read_idx",
    "register",
    "train_validation_split",
    "unpadded",
    "write_shards",
]
