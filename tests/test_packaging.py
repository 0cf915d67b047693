"""The pins, the extras, the Makefile's environment and the built wheel."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kvae.version
from kvae.utils import optional

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kvae", "zoo", "export")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(extra: str = "") -> list[Requirement]:
    """Returns the packages that the library or an extra needs. Extras may refer to other extras."""
    declared = project()
    lines = declared["optional-dependencies"][extra] if extra else declared["dependencies"]
    found = []
    for requirement in map(Requirement, lines):
        if requirement.name != declared["name"]:
            found.append(requirement)
        for inner in requirement.extras if requirement.name == declared["name"] else ():
            found += requirements(inner)
    return found


def hashed_pins() -> list[str]:
    """Each pin with its marker and hashes, in one line."""
    text = (ROOT / "requirements.txt").read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pin_lines() -> list[str]:
    return [line.split("--hash=")[0].strip() for line in hashed_pins()]


def pins(python: str, platform: str, machine: str) -> dict[str, str]:
    """The version of each package in one environment; fails on a second pin of the same one."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_machine": machine,
    }
    found: dict[str, str] = {}
    for line in pin_lines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice for Python {python} on {platform}"
            found[name] = str(requirement.specifier).removeprefix("==")
    return found


def test_every_requirement_is_pinned_exactly():
    lines = pin_lines()
    loose = [line for line in lines if not re.match(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?$", line)]
    assert len(lines) > 50 and loose == []


def test_every_pin_has_its_hashes():
    """As soon as one pin has a hash, pip refuses files with another one or with none."""
    for line in hashed_pins():
        hashes = [word for word in line.split() if word.startswith("--hash")]
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in hashes)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "machine"), PLATFORMS)
def test_pins_satisfy_the_declared_ranges(python, platform, machine):
    pinned = pins(python, platform, machine)
    for requirement in requirements() + requirements("dev"):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned for Python {python}"
        assert version in requirement.specifier, f"{requirement} against the pin {version}"


def test_pins_and_classifiers_agree_on_the_pythons():
    declared = project()
    prefix = "Programming Language :: Python :: "
    named = [c.removeprefix(prefix) for c in declared["classifiers"] if c.startswith(prefix + "3.")]
    assert tuple(named) == PYTHONS
    requires = Requirement(f"python{declared['requires-python']}").specifier
    around = [f"3.{minor}.0" for minor in range(8, 17)]
    assert [v for v in around if v in requires] == [f"{v}.0" for v in PYTHONS]


# ---- Optional packages ----

# Distributions that are called otherwise than what is imported from them.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "grpc": "grpcio",
    "sklearn": "scikit-learn",
    "tensorflow_serving": "tensorflow-serving-api",
}
# Packages that a dependency always installs.
WITH = {
    "flatbuffers": "ai-edge-litert",
    "google": "tensorflow",
    "scipy": "scikit-learn",
    "threadpoolctl": "scikit-learn",
}


def distribution(package: str) -> str:
    """Returns the name by which pip knows a package, given the name that is imported."""
    return canonicalize_name(WITH.get(package) or DISTRIBUTIONS.get(package, package))


def distributions(extra: str = "") -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements(extra)}


def test_extras_install_what_the_errors_say():
    assert project()["name"] == optional.DISTRIBUTION
    for package, extra in optional.EXTRAS.items():
        assert distribution(package) in distributions(extra), package
    extras = set(project()["optional-dependencies"]) - {"all", "dev"}
    assert extras == set(optional.EXTRAS.values())
    assert distributions("all") == set.union(*map(distributions, extras))


def test_all_that_is_imported_is_declared():
    imported = set()
    for path in (path for name in PACKAGES for path in ROOT.glob(f"{name}/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    others = imported - {*PACKAGES, *sys.stdlib_module_names, *optional.EXTRAS}
    assert len(others) > 10
    assert {name for name in others if distribution(name) not in distributions()} == set()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_all_texts_name_the_distribution_and_extras_that_there_are():
    """`kvae` is another project on the index, and of an unknown extra pip only warns."""
    extras = set(project()["optional-dependencies"])
    lines = subprocess.run(
        ["git", "grep", "--extended-regexp", r"kvae\[|pip install +.?kvae"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    found = 0
    for line in lines:
        assert not re.search(r"pip install +[\"']?kvae\b", line), line
        for name, names in re.findall(r"([\w.-]*kvae)\[([a-z_, ]+)\]", line):
            found += 1
            assert name == optional.DISTRIBUTION, line
            assert {one.strip() for one in names.split(",")} <= extras, line
    assert found > 5


# ---- What a release says of itself ----


def addresses():
    path = ROOT / "docs/tools/addresses.py"
    spec = importlib.util.spec_from_file_location("addresses", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_release_has_the_addresses_of_its_repository():
    address = "https://example.org/me/kvae"
    text = (ROOT / "pyproject.toml").read_text() + addresses().urls(address, "v1.2.3")
    declared = tomllib.loads(text)["project"]
    assert declared["urls"]["Repository"] == address
    assert set(declared["urls"].values()) >= {f"{address}/blob/v1.2.3/CHANGELOG.md"}
    assert declared == {**project(), "urls": declared["urls"]}


def test_links_of_a_released_readme_lead_to_the_tagged_state():
    before = (ROOT / "README.md").read_text()
    after = addresses().absolute(before, "https://example.org/me/kvae", "v1.2.3")
    pattern = r"(!?)\[[^\]]*\]\(([^)\s]+)\)"
    links = re.findall(pattern, before)
    assert len(links) > 10
    for (picture, target), (_, found) in zip(links, re.findall(pattern, after), strict=True):
        place = "raw" if picture else "blob"
        assert found == f"https://example.org/me/kvae/{place}/v1.2.3/{target}"


def test_the_weights_leave_room_in_a_wheel_that_the_index_takes():
    """It takes 100 MB a file, and weights hardly become smaller in an archive."""
    sizes = [path.stat().st_size for path in ROOT.glob("zoo/weights/*.weights.h5")]
    assert len(sizes) > 30 and sum(sizes) < 90e6


# ---- The Makefile, on a copy with nothing to download ----

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="GNU make is not installed")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    # A make that runs these tests must not hand its own flags and variables down.
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKEOVERRIDES")}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def checkout(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements.txt").write_text("./no-such-package-1.0-py3-none-any.whl\n")
    return tmp_path


@needs_make
def test_make_without_a_suitable_python_says_so_in_one_line(checkout):
    result = make(checkout, "--silent", ".venv", "PYTHON=false")
    assert result.returncode != 0
    message, *rest = result.stderr.splitlines()
    assert "kvae needs Python 3.10, 3.11, 3.12 or 3.13" in message and "PYTHON=" in message
    assert all(line.startswith("make") for line in rest)
    assert not (checkout / ".venv").exists()


@needs_make
@pytest.mark.slow
def test_half_made_environment_does_not_count(checkout):
    arguments = (".venv", f"PYTHON={sys.executable}")
    failed = make(checkout, *arguments)
    assert failed.returncode != 0
    assert (checkout / ".venv/bin/python").exists()
    assert not (checkout / ".venv/.requirements").exists()
    assert make(checkout, "--question", *arguments).returncode == 1


@needs_make
def test_environment_is_remade_when_its_inputs_change(checkout):
    stamps = [checkout / ".venv/.requirements", checkout / ".venv/.installed"]
    stamps[0].parent.mkdir()
    for later, path in enumerate([checkout / "requirements.txt", checkout / "pyproject.toml"]):
        os.utime(path, (1_000 + later, 1_000 + later))
    for later, stamp in enumerate(stamps):
        stamp.touch()
        os.utime(stamp, (2_000 + later, 2_000 + later))
    # Asked of the stamp: .venv itself is phony, which --question always calls out of date.
    current = ("--question", ".venv/.installed")
    assert make(checkout, *current).returncode == 0
    for changed in ("requirements.txt", "pyproject.toml"):
        os.utime(checkout / changed, (3_000, 3_000))
        assert make(checkout, *current).returncode == 1, changed
        os.utime(checkout / changed, (1_000, 1_000))


# ---- The wheel ----


def setuptools_major() -> int:
    try:
        import setuptools
    except ImportError:
        return 0
    return int(setuptools.__version__.split(".")[0])


@pytest.mark.slow
@pytest.mark.skipif(setuptools_major() < 77, reason="building the wheel needs setuptools >= 77")
def test_wheel_holds_all_modules_cards_weights_and_the_command(tmp_path):
    source = tmp_path / "source"
    # A copy, because setuptools leaves build/ behind and takes stale files from it.
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)),
        ],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"keras_kvae-{kvae.version.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        info = next(n for n in inside if n.endswith("/entry_points.txt")).rsplit("/", 1)[0]
        assert "kvae = kvae.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
        weights = sorted(ROOT.glob("zoo/weights/*.weights.h5"))
        cards = sorted(ROOT.glob("zoo/cards/**/*.json"))
        assert weights and cards
        for path in weights + cards:
            assert archive.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()
    modules = [path for name in PACKAGES for path in ROOT.glob(f"{name}/**/*.py")]
    pages = [path for name in PACKAGES for path in ROOT.glob(f"{name}/**/*.html")]
    types = [path for name in PACKAGES for path in ROOT.glob(f"{name}/**/*.pyi")]
    types += [ROOT / name / "py.typed" for name in PACKAGES]
    assert len(types) >= 6
    expected = {path.relative_to(ROOT).as_posix() for path in modules + pages + types}
    assert expected - inside == set()
    assert f"{info}/licenses/LICENSE" in inside
    outside = {name for name in inside if name.split("/")[0] not in (*PACKAGES, info)}
    assert outside == set()
