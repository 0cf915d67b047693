"""Files of weights that take less room, and load as before.

`save` packs what Keras writes, without loss: HDF5 shuffles the bytes of each array, so that those
of the exponents, which are much alike, stand together, and packs them by gzip. Whoever reads HDF5
unpacks them unasked. The bits of the mantissas are much like noise and do not pack, so that a
recipe may keep fewer of them: `rounded`.

`python -m zoo.packing NAME …` packs the shipped weights of models again, and has their cards name
the new files. The weights stay the same, bit for bit.
"""

import argparse
import dataclasses
import os
import pathlib

import numpy as np

from kvae.utils import archives, io
from zoo import cards, weights

__all__ = ["MANTISSA", "pack", "repack", "rounded", "save"]

MANTISSA = 23
"""Bits of the mantissa of a float32."""
_SMALL = 1024  # Bytes: what the description of a packed array costs, and more.


def save(model, path) -> None:
    """Writes the weights of a model, packed, for `model.load_weights`.

    Args:
        model: built `keras.Model`.
        path: path, which ends in `.weights.h5`.
    """
    with io.atomic_write(path) as temporary:
        plain = temporary.with_name(f"plain-{temporary.name}")  # In a folder that is removed.
        model.save_weights(plain)
        pack(plain, temporary)


def pack(source, target) -> None:
    """Writes an HDF5 file again with its arrays packed; their bits stay the same.

    The same content gives the same bytes. An array that would pack to less than an eighth, such as
    one of zeros, stays as it is where it is large: `kvae.utils.archives.check_hdf5` takes such an
    array for a bomb.

    Args:
        source: path of an HDF5 file of groups, arrays and attributes.
        target: path of the new file. One that is there is replaced.
    """
    import h5py
    from h5py import h5f, h5g, h5p

    # The format of HDF5 1.10 needs less room for its tables. It dates what it holds unless it is
    # told not to, which h5py leaves to its lower level.
    of_file, access = h5p.create(h5p.FILE_CREATE), h5p.create(h5p.FILE_ACCESS)
    of_group = h5p.create(h5p.GROUP_CREATE)
    for undated in (of_file, of_group):
        undated.set_obj_track_times(False)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    made = h5f.create(os.fsencode(target), h5f.ACC_TRUNC, of_file, access)
    with h5py.File(source, "r") as old, h5py.File(made) as new:
        new.attrs.update(old.attrs)

        def copy(name, item):
            if isinstance(item, h5py.Group):
                written = h5py.Group(h5g.create(new.id, name.encode(), gcpl=of_group))
            else:
                packed = {"chunks": item.shape, "shuffle": True, "compression": 9}
                options = packed if item.nbytes > _SMALL else {}
                written = new.create_dataset(name, data=item[()], **options)
                written.flush()  # It knows what it takes once it is written.
                if archives.expands_too_much(written):  # Whoever downloads it would refuse it.
                    del new[name]
                    written = new.create_dataset(name, data=item[()])
            written.attrs.update(item.attrs)

        old.visititems(copy)


def rounded(model, bits: int | None) -> None:
    """Rounds the weights of a model to fewer bits of the mantissa, to the nearest, ties to even.

    They stay float32, and change by at most 2 to the power of −(bits + 1), relatively. What is left
    out becomes zeros, which pack well: 10 bits take half the room of 23.

    Args:
        model: built `keras.Model`, whose float32 weights are changed.
        bits: int or `None`. From 1 to 23, of the 23 that there are; `None` leaves them alone.
    """
    dropped = 0 if bits is None else MANTISSA - bits
    for weight in model.weights if dropped else ():
        if weight.dtype == "float32":
            weight.assign(_nearest(np.asarray(weight), dropped))


def _nearest(values: np.ndarray, dropped: int) -> np.ndarray:
    """Returns float32 values without the last bits of their mantissas."""
    whole = values.view(np.uint32)
    odd = (whole >> np.uint32(dropped)) & np.uint32(1)
    half = np.uint32((1 << (dropped - 1)) - 1)
    kept = (whole + half + odd) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return np.where(np.isfinite(values), kept.view(np.float32), values)


def repack(name: str, directory) -> cards.Card:
    """Packs the weights of a model that are in the package, and writes its card.

    Args:
        name: str. One of `zoo.list_models()`.
        directory: path. That of the folders `weights` and `cards`.

    Returns:
        The `Card`, of which only the size and the SHA-256 of the weights are new.
    """
    card, directory = cards.shipped(name), pathlib.Path(directory)
    path = directory / "weights" / card.weights["file"]
    weights.verify(path, card.weights["sha256"])
    with io.atomic_write(path) as temporary:
        pack(path, temporary)
    card = dataclasses.replace(card, weights=weights.describe(path))
    card.write(directory / "cards" / f"{name}.json")
    return card


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.packing", description=__doc__)
    parser.add_argument("names", nargs="+", type=cards.trained_name, metavar="NAME")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    for name in arguments.names:
        before = cards.shipped(name).weights["bytes"]
        after = repack(name, arguments.directory).weights["bytes"]
        print(f"{name}: {before:,} bytes before, {after:,} after", flush=True)


if __name__ == "__main__":
    _main()
