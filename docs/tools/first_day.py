"""Records docs/FIRST_DAY.md: runs the commands of the page and puts in what they printed and drew.

A block of the language `console` holds commands, in lines that begin with `$ ` (and `> ` where a
command goes on), each with its output below and its seconds behind a `#`. `make first-day` makes a
folder of pictures and a table, runs the commands there from the top to the bottom, and replaces the
outputs, the seconds and the pictures. A command that ends in `&` runs until `kill %1`.
"""

from __future__ import annotations

import argparse
import colorsys
import csv
import dataclasses
import os
import pathlib
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "FIRST_DAY.md"
PICTURES = "images/first_day"

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", flags=re.DOTALL | re.MULTILINE)
_SECONDS = re.compile(r" +# \d+ s$")
_PICTURE = re.compile(rf"\]\({PICTURES}/(\w+)\.png\)")
_SUMMARY = re.compile(r"(?<=<!-- recorded -->\n).*?(?=\n<!-- /recorded -->)", flags=re.DOTALL)
_SHOWN = 14  # Lines of an output that the page shows; of longer ones, the first and the last.
_WIDTH = 110  # Characters of a line.
# The corners of each class, and the direction of the first, in radians from the right downwards.
_CLASSES = {"circle": (60, 0.0), "square": (4, np.pi / 4), "triangle": (3, -np.pi / 2)}


@dataclasses.dataclass
class Command:
    """A command of the page: its lines without the prompt, what it printed, and its seconds."""

    lines: list[str]
    output: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """The command in one line."""
        return re.sub(r"\\\n *", "", self.text)

    def shown(self) -> str:
        first, *rest = self.lines
        lines = [f"$ {first}", *(f"> {line}" for line in rest)]
        lines[-1] += f"  # {self.seconds:.0f} s" if self.seconds >= 0.5 else ""
        return "\n".join([*lines, *self.output])


def commands(block: str) -> list[Command]:
    """Reads the commands of a block, with what they printed."""
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Command([_SECONDS.sub("", line[2:])]))
        elif line.startswith("> ") and found[-1].text.endswith("\\"):
            found[-1].lines.append(_SECONDS.sub("", line[2:]))
        elif line:
            found[-1].output.append(line)
    return found


def of_page(text: str) -> list[Command]:
    """Returns all commands of a page, in their order."""
    return [command for block in _BLOCK.findall(text) for command in commands(block)]


# ---- What the day begins with ----


def make_photos(folder: pathlib.Path, number: int, seed: int = 1) -> None:
    """Draws coloured shapes on a shaded ground, with some noise: JPEG files in class folders."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    for index in range(number):
        name = list(_CLASSES)[index % len(_CLASSES)]
        size, scale = 64, 4
        ground = rng.uniform(0.7, 0.95) * 255 * np.array([1.0, 0.97, 0.92])
        picture = Image.new("RGB", (size * scale, size * scale), tuple(ground.astype(int)))
        red, green, blue = colorsys.hsv_to_rgb(rng.random(), 0.85, 0.8)
        colour = (round(255 * red), round(255 * green), round(255 * blue))
        radius = rng.uniform(15, 22) * scale
        middle = rng.uniform(28, 36, 2) * scale
        corners, turn = _CLASSES[name]
        angles = turn + rng.normal(0, 0.1) + np.arange(corners) * 2 * np.pi / corners
        points = middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ImageDraw.Draw(picture).polygon([tuple(point) for point in points], fill=colour)
        pixels = np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS), float)
        shade = 1 - 0.25 * np.linspace(0, 1, size)[:, None, None] * rng.uniform(0.5, 1.0)
        pixels = pixels * shade + rng.normal(0, 3, pixels.shape)
        path = folder / name / f"{index:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(path, quality=92)


def make_table(path: pathlib.Path, rows: int, seed: int = 1) -> None:
    """Draws patients: two lengths, a text, a yes or no, and a count, which hang together."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("height_cm", "weight_kg", "blood_group", "smokes", "visits"))
        for _ in range(rows):
            height = rng.normal(172, 9)
            weight = 0.9 * height - 82 + rng.normal(0, 8)
            smokes = int(rng.random() < 0.25)
            group = rng.choice(("O", "A", "B", "AB"), p=(0.41, 0.43, 0.11, 0.05))
            visits = rng.poisson(1.5 + 3 * smokes)
            table.writerow((f"{height:.1f}", f"{weight:.1f}", group, smokes, visits))


def _overview(folder: pathlib.Path) -> None:
    """Draws some of the pictures of each class side by side."""
    from PIL import Image

    rows, gap = [], 4
    for name in _CLASSES:
        rows.append([Image.open(file) for file in sorted((folder / name).glob("*.jpg"))[:12]])
    side = 64 + gap
    sheet = Image.new("RGB", (side * len(rows[0]) + gap, side * len(rows) + gap), "white")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (gap + column * side, gap + row * side))
    sheet.save(folder.parent / "photos.png")


# ---- The commands ----


class Shell:
    """Runs commands in a folder, as in a terminal of its own."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.background = folder, None
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **os.environ,
            "COLUMNS": "90",
            "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    def run(self, command: Command) -> None:
        """Runs a command and notes its output and its seconds.

        Raises:
            RuntimeError: if it fails, with all that it printed.
        """
        start = time.monotonic()
        if command.text == "kill %1":
            output = self.stop()
        elif command.text.endswith("&"):
            output = self._start(command.text.removesuffix("&"))
        else:
            done = self._process(command.text)
            output = done.communicate()[0].decode()
            if done.returncode:
                raise RuntimeError(f"$ {command.text}\n{output}exit status {done.returncode}")
        command.seconds = time.monotonic() - start
        command.output = _shortened(output)

    def _process(self, text: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _start(self, text: str) -> str:
        """Starts a server, and returns what it printed until it was ready."""
        self.background = self._process(f"exec {text}")
        assert self.background.stdout is not None
        printed = ""
        for line in self.background.stdout:
            printed += line.decode()
            if b"http://" in line:
                return printed
        raise RuntimeError(f"$ {text}&\n{printed}It ended at once.")

    def stop(self) -> str:
        """Ends the server, and returns what else it printed."""
        if self.background is None:
            return ""
        os.killpg(self.background.pid, signal.SIGTERM)
        printed = self.background.communicate(timeout=60)[0].decode()
        self.background = None
        return printed


def _shortened(output: str) -> list[str]:
    """Returns the lines of an output, the middle left out where there are many."""
    output = output.replace(f"{ROOT}{os.sep}", "").strip("\n")
    lines = []
    for line in output.split("\n"):
        line = line.rstrip().split("\r")[-1]
        # Sentences go on in the next line; rows of tables do not.
        lines += [line] if "   " in line else textwrap.wrap(line, _WIDTH) or [""]
    lines = [line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…" for line in lines]
    if len(lines) > _SHOWN:
        lines = [*lines[: _SHOWN // 2], "…", *lines[-(_SHOWN // 2) :]]
    return lines


# ---- The page ----


def quick(text: str) -> str:
    """Returns the page with trainings of one epoch, as the tests run it."""
    return re.sub(r"--epochs \d+", "--epochs 1", text)


def record(text: str, folder: pathlib.Path) -> str:
    """Runs the commands of a page in a folder; returns the page with what they printed."""
    load, work = os.getloadavg()[0], _processor_seconds()
    total = 0.0
    with Shell(folder) as shell:

        def run(match) -> str:
            nonlocal total
            found = commands(match[0])
            for command in found:
                print(f"$ {command.text}", flush=True)
                shell.run(command)
                print(f"  {command.seconds:.1f} s", flush=True)
                total += command.seconds
            return "\n\n".join(command.shown() for command in found) + "\n"

        text = _BLOCK.sub(run, text)
    work = _processor_seconds() - work
    said = (
        f"All commands together took **{_minutes(total)}** by the clock and {_minutes(work)} of "
        f"processor time, on a machine with {os.cpu_count()} cores ({_processor()}). Its load was "
        f"{load:.1f} when the recording began and {os.getloadavg()[0]:.1f} when it ended."
    )
    print(said, flush=True)
    return _SUMMARY.sub(lambda _: said, text)


def _minutes(seconds: float) -> str:
    return "{} min {} s".format(*divmod(round(seconds), 60))


def _processor_seconds() -> float:
    """Returns the processor time of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _processor() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"model name\s*: (.+)", text)
    return found[1] if found else platform.machine()


def screenshot(folder: pathlib.Path, path: pathlib.Path) -> bool:
    """Draws the page for browsers as it looks, where Chromium is installed."""
    sys.path.insert(0, str(ROOT / "tests" / "export"))
    import chromium

    if chromium.PATH is None:
        return False
    with chromium.serve(folder) as address, chromium.Browser(1280, 900) as browser:
        browser.open(f"{address}?device=wasm")
        browser.wait("window.page?.frames > 0")
        time.sleep(2)  # The codes of the photos arrive.
        browser.picture(path)
    return True


def keep_pictures(text: str, folder: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the pictures that a page shows, in 256 colours and at most 800 pixels wide."""
    from PIL import Image

    target.mkdir(parents=True, exist_ok=True)
    for name in _PICTURE.findall(text):
        if not (folder / f"{name}.png").exists():
            print(f"{name}.png was not drawn; the page keeps the one that it has.")
            continue
        picture = Image.open(folder / f"{name}.png").convert("RGB")
        if picture.width > 800:
            height = round(picture.height * 800 / picture.width)
            picture = picture.resize((800, height), Image.Resampling.LANCZOS)
        picture.quantize(256).save(target / f"{name}.png", optimize=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Records docs/FIRST_DAY.md.")
    parser.add_argument(
        "--only-data", metavar="DIR", help="only make the photos and the table, in this folder"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few files and epochs, as the tests do; write nothing"
    )
    options = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="first-day-") as name:
        folder = pathlib.Path(options.only_data or name)
        make_photos(folder / "photos", 90 if options.quick else 900)
        make_table(folder / "patients.csv", 200 if options.quick else 2000)
        if options.only_data:
            return 0
        _overview(folder / "photos")
        try:
            text = record(quick(text) if options.quick else text, folder)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        if not options.quick:
            screenshot(folder / "page", folder / "page.png")
            keep_pictures(text, folder, PAGE.parent / PICTURES)
            PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
