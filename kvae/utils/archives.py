"""What other people's archives may cost, seen before they are opened."""

import os
import pathlib
import zipfile

from kvae.utils.io import DAMAGED

__all__ = ["check_archive", "check_hdf5", "expands_too_much"]

# Archives of models have some five members, and files of weights some hundred groups. Keras packs
# neither; what `zoo.packing` or somebody else packed may unpack to so many times its size.
_MAX_MEMBERS, _MAX_OBJECTS = 1000, 20_000
_MAX_EXPANSION, _FREE_BYTES = 8, 16 << 20


def check_archive(path: str | os.PathLike) -> None:
    """Reads all of a ZIP archive, such as a `.keras` file, and compares its checksums.

    A reader that jumps about in a member, as HDF5's may, does not. What the members take when they
    are unpacked is bounded before they are read.

    Raises:
        ValueError: if it is no archive, was cut off or altered, has more members or unpacks to more
            bytes than a model does, or has a member that would lie outside of the folder it is
            unpacked to, or two of one name.
    """
    with open(path, "rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                _check_members(path, archive.infolist())
                damaged = archive.testzip()
        except _Refused as error:
            raise ValueError(f"{path} is no model file: {error}.") from None
        except DAMAGED as error:
            raise ValueError(f"{path} is damaged, or no archive: {error}.") from None
    if damaged is not None:
        raise ValueError(f"{path} is damaged: the checksum of its {damaged!r} differs.")


class _Refused(Exception):
    """An archive that is whole, and not one of a model."""


def _check_members(path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MAX_MEMBERS:
        raise _Refused(f"it has {len(members)} members, and at most {_MAX_MEMBERS} are allowed")
    seen, total = set(), 0
    for member in members:
        name = member.filename
        place = pathlib.PurePosixPath(name.replace("\\", "/"))
        # Some file systems do not tell upper from lower case.
        key = str(place).casefold()
        windows = pathlib.PureWindowsPath(name)
        outside = place.is_absolute() or windows.drive or ".." in place.parts
        if outside or key in seen or not place.parts:
            raise _Refused(f"its member {name[:200]!r} has no place in it")
        seen.add(key)
        total += member.file_size
    packed = os.path.getsize(path)
    if total > _FREE_BYTES + _MAX_EXPANSION * packed:
        raise _Refused(f"it unpacks to {total} bytes, over {_MAX_EXPANSION} times its {packed}")


def check_hdf5(file, what: str) -> None:
    """Checks that the arrays of an HDF5 file are stored in it and unpack to about its size.

    Args:
        file: path, or a binary stream that can seek.
        what: str. The file's name, for errors.

    Raises:
        ValueError: if an array declares many more bytes than are stored, or names another file, or
            if it is no HDF5 file.
    """
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            groups, seen = [opened], {h5py.h5o.get_info(opened.id).addr}
            while groups:
                group = groups.pop()
                for name in group:
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise _Refused(f"its {name[:80]!r} is a link")
                    item = group[name]
                    place = h5py.h5o.get_info(item.id).addr
                    if place in seen or len(seen) > _MAX_OBJECTS:
                        raise _Refused(f"its {name[:80]!r} is there twice, or one of too many")
                    seen.add(place)
                    if isinstance(item, h5py.Group):
                        groups.append(item)
                    elif item.external or item.is_virtual:
                        raise _Refused(f"its {name[:80]!r} lies in another file")
                    elif expands_too_much(item):
                        raise _Refused(f"its {name[:80]!r} declares more than is stored of it")
    except _Refused as error:
        raise ValueError(f"{what} is no file of weights: {error}.") from None
    except DAMAGED as error:
        raise ValueError(f"{what} is damaged, or no HDF5 file: {error}.") from None


def expands_too_much(dataset) -> bool:
    """Checks whether an array unpacks to so many times what is stored that `check_hdf5` refuses it.

    Args:
        dataset: `h5py.Dataset`.
    """
    size = (dataset.size or 0) * dataset.dtype.itemsize
    return size > _FREE_BYTES // 16 + _MAX_EXPANSION * dataset.id.get_storage_size()
