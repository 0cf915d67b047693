"""Names that a package exports without importing the modules that define them."""

import sys
from collections.abc import Callable

import lazy_loader

__all__ = ["attach_stub"]


def attach_stub(package: str, file: str) -> tuple[Callable, Callable, list[str]]:
    """Exports what the stub beside a package's `__init__.py` lists; imports it at its first use.

    The stub `__init__.pyi` is the one place for these names: type checkers and editors read it as
    well. It holds relative imports alone, `from .module import name as name`.

    Args:
        package: str. The package's `__name__`.
        file: str. The package's `__file__`.

    Returns:
        The functions `__getattr__` and `__dir__` and the list `__all__` of the package.

    Example:

    ```python
    __getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
    ```
    """
    load, listed, names = lazy_loader.attach_stub(package, file)

    def __getattr__(name: str):  # noqa: N807
        if name not in names:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}",
                name=name,
                obj=sys.modules.get(package),  # From this Python suggests the nearest name.
            )
        return load(name)

    return __getattr__, listed, names
