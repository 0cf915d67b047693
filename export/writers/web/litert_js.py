"""Copies LiteRT.js, which runs TFLite files in browsers, beside a page.

It is Google's, under the Apache License 2.0. It is downloaded once from the npm registry, and
checked.
"""

import hashlib
import os
import pathlib
import tarfile
import urllib.request

from kvae.utils import io, locks

__all__ = ["cache_folder", "copy"]

VERSION = "2.5.3"

# Each package with the SHA-256 of its archive, and the places of its files.
_PACKAGES = {
    "core": (
        "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
        {
            "dist/index.js": "litert.js",
            # Another pair uses relaxed SIMD instructions, which fewer browsers have. It decodes no
            # faster, and would double the page.
            "wasm/litert_wasm_compat_internal.js": "litert_wasm_compat_internal.js",
            "wasm/litert_wasm_compat_internal.wasm": "litert_wasm_compat_internal.wasm",
        },
    ),
    "wasm-utils": (
        "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
        {"dist/index.js": "wasm-utils.js"},
    ),
}
_SECONDS = 60
_PATIENCE = 600.0  # Seconds to wait for another process's download.


def cache_folder() -> pathlib.Path:
    """Returns where archives are kept: `$XDG_CACHE_HOME/kvae`, usually `~/.cache/kvae`."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "kvae"


def copy(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Copies what a page needs of LiteRT.js into `folder`; downloads it the first time.

    Args:
        folder: str or path. Exists.

    Returns:
        The files.

    Raises:
        ConnectionError: if it is not in the cache and cannot be downloaded.
        ValueError: if an archive is not the one that this version of kvae was tested with.
    """
    folder = pathlib.Path(folder)
    written = []
    for package, (digest, files) in _PACKAGES.items():
        with tarfile.open(_archive(package, digest)) as archive:
            for name, target in files.items():
                content = archive.extractfile(f"package/{name}").read()
                if target == "litert.js":
                    # Browsers know addresses, not names of packages.
                    content = content.replace(b'"@litertjs/wasm-utils"', b'"./wasm-utils.js"')
                content = content.replace(b"//# sourceMappingURL=index.js.map", b"")
                with io.atomic_write(folder / target) as temporary:
                    temporary.write_bytes(content)
                written.append(folder / target)
    return written


def _archive(package: str, digest: str) -> pathlib.Path:
    path = cache_folder() / f"litertjs-{package}-{VERSION}.tgz"
    if not path.is_file():
        io.writable_folder(path.parent, f"download {path.name}")
        # One process downloads the file, and those that want the same one wait.
        with locks.Lock(path, "a download", wait=_PATIENCE):
            if not path.is_file():
                with io.atomic_write(path) as temporary:
                    temporary.write_bytes(_download(package, digest))
    elif io.sha256_file(path) != digest:
        raise ValueError(
            f"{path} is not version {VERSION} of @litertjs/{package}: its SHA-256 differs. "
            "Delete it, and it is downloaded again."
        )
    return path


def _registry() -> str:
    return os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")


def _download(package: str, digest: str) -> bytes:
    address = f"{_registry()}/@litertjs/{package}/-/{package}-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as response:
            content = response.read()
    except OSError as error:
        raise ConnectionError(
            f"The page needs LiteRT.js {VERSION}, which is not in {cache_folder()}, and {address} "
            f"cannot be reached ({error}). Where there is a network, run `npm pack "
            f"@litertjs/core@{VERSION} @litertjs/wasm-utils@{VERSION}`, and put the two files into "
            "that folder."
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(
            f"{address} sent something other than version {VERSION} of @litertjs/{package}: its "
            "SHA-256 differs. Nothing was kept; try again, or from another network."
        )
    return content
