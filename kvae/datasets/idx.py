"""The IDX file format of MNIST and Fashion-MNIST, read strictly."""

import gzip
import math
import os
import pathlib
import zlib

import numpy as np

__all__ = ["read_idx"]

# The third byte of the magic number gives the element type; IDX files are big-endian.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BLOCK = 1 << 20


def read_idx(
    path: str | os.PathLike,
    shape: tuple[int | None, ...] | None = None,
    dtype: str | None = None,
) -> np.ndarray:
    """Reads a gzip-compressed IDX file, and refuses one that is not exactly right.

    Args:
        path: str or path. A `.gz` file, e.g. `"train-images-idx3-ubyte.gz"`.
        shape: tuple of int or None. The shape that the header must give, `None` for a dimension
            of any size. Defaults to `None`, any shape.
        dtype: str or None. The type that the header must give, e.g. `"uint8"`. Defaults to `None`,
            any of the format's six types.

    Returns:
        An array of the file's type (in native byte order) and shape.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not gzip, is truncated or corrupt, has another magic number,
            type or shape, or is shorter or longer than its header says.

    Example:

    ```python
    images = kvae.datasets.read_idx("mnist/t10k-images-idx3-ubyte.gz", (None, 28, 28))
    ```

    #### References
    - Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits,
      "File formats for the MNIST database".
    """
    path = pathlib.Path(path)

    def broken(what: str) -> ValueError:
        return ValueError(f"{path} {what}. Delete it and fetch the original file again.")

    try:
        with gzip.open(path, "rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not magic[3]:
                raise broken(f"is not an IDX file: it starts with {magic.hex() or 'nothing'}")
            stored, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
            if dtype is not None and stored != np.dtype(dtype).newbyteorder(">"):
                raise broken(f"holds {stored.name}, where {dtype} was expected")
            header = stream.read(4 * rank)
            if len(header) < 4 * rank:
                raise broken(f"is truncated in the header of its {rank} dimensions")
            dims = tuple(int(size) for size in np.frombuffer(header, ">u4"))
            if shape is not None and not _matches(dims, shape):
                wanted = " x ".join("any" if size is None else str(size) for size in shape)
                found = " x ".join(map(str, dims))
                raise broken(f"holds an array of {found}, where {wanted} was expected")
            # Never more than one byte too many, in blocks: a flipped bit in a dimension must not
            # make us reserve terabytes. Reading past the end also makes gzip check its CRC.
            expected = math.prod(dims) * stored.itemsize
            data = bytearray()
            while len(data) <= expected:
                block = stream.read(min(_BLOCK, expected + 1 - len(data)))
                if not block:
                    break
                data += block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise broken(f"is truncated or corrupt, or no gzip file ({error})") from error
    if len(data) != expected:
        amount = "more than that" if len(data) > expected else f"{len(data)}"
        raise broken(f"should hold {expected} bytes of data by its header, but holds {amount}")
    return np.frombuffer(data, stored).reshape(dims).astype(stored.newbyteorder("="))


def _matches(dims: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(dims) == len(shape) and all(
        want is None or size == want for size, want in zip(dims, shape, strict=True)
    )
