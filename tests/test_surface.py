"""What users and their tools see of the packages: names, types, no slow imports."""

import importlib
import pathlib

import pytest

import export
import kvae
import zoo

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = (kvae, zoo, export)


def test_importing_the_packages_imports_nothing_heavy(run_python):
    run_python(
        "import sys, kvae, zoo, export\n"
        "assert dir(kvae) and dir(zoo) and dir(export) and zoo.list_models()\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_exported_name_is_there(package):
    assert len(package.__all__) == len(set(package.__all__)) >= 9
    assert sorted(package.__all__) == dir(package)
    for name in package.__all__:
        assert getattr(package, name) is not None
        namespace = {}
        exec(f"from {package.__name__} import {name}", namespace)
        assert namespace[name] is getattr(package, name)


def test_exported_modules_are_modules_of_the_package():
    for name in kvae.__all__:
        if (ROOT / "kvae" / name).is_dir() or (ROOT / "kvae" / f"{name}.py").is_file():
            assert getattr(kvae, name) is importlib.import_module(f"kvae.{name}")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_unknown_name_is_an_attribute_error_that_lets_python_suggest(package):
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute") as at:
        package.lod  # noqa: B018
    assert at.value.name == "lod" and at.value.obj is package
    with pytest.raises(ImportError, match="lod"):
        exec(f"from {package.__name__} import lod")


def test_type_checkers_are_told_that_there_are_types():
    for package in PACKAGES:
        assert (pathlib.Path(package.__file__).parent / "py.typed").is_file()
