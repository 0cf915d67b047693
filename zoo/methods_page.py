"""The page of all methods, `docs/METHODS.md`, from the registers, the docstrings and the cards.

`make methods` writes it. A part is on the page because it is registered, and what the page says of
it stands with it: the equation in its docstring, the paper in the section `Reference`, and where no
card has a model of it, a figure in a section `Measured`, with the command that gives it.
"""

import argparse
import functools
import inspect
import json
import operator
import pathlib
import re
import statistics
from collections.abc import Iterator

import keras

from kvae import flows, likelihoods, objectives, posteriors, priors, samplers
from kvae.flows import Flow
from kvae.likelihoods import Likelihood
from kvae.objectives import Objective
from kvae.parts import resolve
from kvae.posteriors import Posterior
from kvae.priors import Prior
from kvae.samplers import Sampler
from kvae.utils import io
from zoo.building import ARCHITECTURES
from zoo.cards import Card, list_models, shipped
from zoo.peers import PEERS, SOURCES, Row

__all__ = ["KINDS", "equation", "figure", "methods", "page", "papers", "spelled", "write"]

_PATH = pathlib.Path(__file__).parents[1] / "docs" / "METHODS.md"
# The package, the base class and the heading of each kind, by the argument of `kvae.VAE`.
KINDS = {
    "posterior": (posteriors, Posterior, "Posteriors, `posterior=`"),
    "prior": (priors, Prior, "Priors, `prior=`"),
    "likelihood": (likelihoods, Likelihood, "Likelihoods, `likelihood=`"),
    "objective": (objectives, Objective, "Objectives, `objective=`"),
    "sampler": (samplers, Sampler, "Samplers, fitted to the codes of a trained model"),
    "flow": (flows, Flow, "Flows, of which posteriors, priors and samplers are made"),
}
# Libraries whose rows a benchmark measures: the file of its figures, and the package beside which
# they stand. PyTorch-VAE is none that could be installed.
_COMPARED = {
    "pythae": ("peers.json", "pythae"),
    "PyTorch-VAE": ("peers.json", "pythae"),
    "MultiVae": ("modalities.json", "multivae"),
}
_DATA = {"peers.json": "digits", "modalities.json": "MNIST and its digits"}
_PARTS = ("posterior", "prior", "likelihood", "objective")
_PLAIN = {"DiagonalGaussian", "StandardNormal", "Bernoulli", "ELBO"}  # Parts of any plain VAE.
_INTRODUCTION = """\
# Methods

Every part of `kvae.VAE` that has a name, every sampler and every flow: what it computes, where that
was published, a figure that a command of ours gives, and who else has it. Below them stand the
tables of other libraries, row by row. `make methods` writes this page from the registers, the
docstrings and the cards of the zoo, and a test holds it to them.

A figure is that of a model of the zoo with the part ([MODELS.md](MODELS.md)), beside the published
one where there is one; `make reproduce CARD=NAME` trains it again. Figures of digits are those of
`python -m benchmarks.methods --method PART=NAME …`: a `dense_vae` with 8 latents, 100 epochs on
binarized digits of 8 × 8 pixels, the test NLL by 1,000 importance samples, one seed; without a
part it has 23.29 ± 0.22 nats, and differences of a few tenths say little. Figures of digits without
a command are those of `benchmarks.peers`, and those of MNIST and its digits of
`benchmarks.modalities`; the tables [below](#other-libraries) explain both. “Not measured” means
that no model here was trained with the part for a figure: its tests compare it with closed forms or
with other implementations, but nobody has seen what it is worth.

"""
_OTHERS = """\
## Other libraries

A row says what is written in kvae for a row of another library's table. What is not written is the
default, or what one likes: the parts go with each other. “Not yet” means that kvae does not have
it. The settings are examples, and not those of the other library's defaults.

The figures of pythae and PyTorch-VAE are those of `python -m benchmarks.peers --seeds {seeds}
--peers PYTHON --json docs/peers.json`, which runs what its file lacks: “not measured” was not run
yet, or failed. Both libraries have equal networks (two layers of {width}), initial weights as
PyTorch draws them,
{epochs} epochs in batches of {batch_size}, Adam at {learning_rate:g}, {latent_dim} latents and the
settings of `benchmarks/peer_methods.py`, also where a row names others (codebooks have 64 vectors
of 8 numbers, for one). A figure with ± is the mean of {seeds_in_words} and their standard
deviation, one without is that of seed {first_seed}. The images are scikit-learn's 8 × 8 digits.
Methods with a density see them binarized once; of these the table has −log p(x) by {nll:,}
importance samples (NLL), and the reconstruction error through one draw of q(z|x) (R), both in nats
for a test image. The others see intensities, and have the squared error of an image (‖·‖²). FD is
the squared Fréchet distance of samples from as many test images in the features of the classifier
`digits`, the mean of five sets (one for RHVAE); of training images in the place of samples it is
{real_binary:.1f} where they are binarized, and {real:.1f} elsewhere. Samples are from the prior,
or where there is none, of a mixture of ten Gaussians that is fitted to the codes; those of a
codebook are of a PixelCNN, and those of RHVAE of its own sampler. Differences of a few tenths of a
nat, or of a few tenths of an FD's value, say little with one seed.

Where the two differ by more than their seeds do, these are the differences that were found:

- DisentangledBetaVAE: pythae holds the KL of each image at C, kvae the mean of a batch.
- SVAE: the concentration is at least 1 on both sides. pythae's rejection sampler leaves a term of
  the concentration's gradient out, kvae's draws have all of it.
- MSSSIM_VAE: pythae counts the coarsest scale once for each of the others, has other factors, and
  halves all gradients by taking the measure to (1 + x) / 2.
- WAE with an RBF kernel: pythae's has one scale, kvae's is a sum over seven.
- VAEGAN: kvae's γ of 30 was chosen among 1, 10, 30 and 100 by the FD of samples from training
  images that were kept back, with seed 0. With γ = 1, which is what pythae's weights say, ‖·‖² was
  6.28 and FD 39.9. In pythae 0.1.2, by its source, gradients of the discriminator's loss reach the
  decoder, and those of the decoder's loss the encoder, for they are not set to zero between the
  backward passes: in most steps the decoder helps the discriminator where it should deceive it.
- HVAE: pythae's came out worse than an untrained model (R); why is not known.
- RHVAE: pythae's has no figure: one run ended in NaN, a later one failed without a message. Why is
  not known.

"""
_MODALITIES = """\
`python -m benchmarks.modalities --small --seeds {seeds} --peers PYTHON --json docs/modalities.json`
trains each method on {train:,} images of MNIST, binarized once, and their digits, for {epochs}
epochs with {latent_dim} latents, and measures the first {test} test images with {samples}
importance samples: −log p(x, y), of CVAE −log p(x|y), and the share of the digits that are right
when an image is translated. A figure stands for each seed. Both libraries have equal networks,
initial weights as PyTorch draws them, and equal settings, which are not those of the papers: no
model has converged, and a nat or two, or a few digits in a hundred, say little. What differs on
purpose, and where the benchmark has to estimate −log p of multivae's models itself, stands in
[TASKS.md](TASKS.md#several-modalities).
"""
_SECTION = re.compile(r"^(\w[\w ]*):$", re.MULTILINE)
_MATHEMATICS = re.compile(r"[=∝≤Σ∏∫‖]| [-−+] |\w\(.*\|")


def methods(kind: str) -> dict[type, tuple[str, ...]]:
    """Returns the classes of a kind, each with the names that stand for it.

    Args:
        kind: str. A key of `KINDS`.

    Returns:
        dict. In the order of the classes' names. A class that is only made with arguments has no
        name.
    """
    package, base, _ = KINDS[kind]
    found: dict[type, tuple[str, ...]] = {
        value: ()
        for name in package.__all__
        if isinstance(value := getattr(package, name), type)
        and issubclass(value, base)
        and keras.saving.get_registered_name(value) != value.__name__
    }
    for name in package.REGISTER:
        made = package.REGISTER[name]
        made = made.func if isinstance(made, functools.partial) else made
        found[made] = (*found.get(made, ()), name)
    ours = {kept: names for kept, names in found.items() if kept.__module__.startswith("kvae.")}
    return dict(sorted(ours.items(), key=lambda item: item[0].__name__.lower()))


@functools.cache
def _sections(part: type) -> dict[str, str]:
    """Returns the sections of a docstring by their heading; what is before the first is `""`."""
    texts = _SECTION.split(inspect.cleandoc(part.__doc__ or ""))
    return {"": texts[0], **dict(zip(texts[1::2], texts[2::2], strict=True))}


def _items(text: str) -> list[str]:
    """Returns the points of a list, each in one line."""
    lines = re.split(r"^ *- ", text, flags=re.MULTILINE)[1:]
    # A point ends where the indentation does.
    lines = [re.split(r"\n(?=\S|\n)", line.rstrip())[0] for line in lines]
    return [" ".join(line.split()).replace("]( ", "](") for line in lines]


def summary(part: type) -> str:
    """Returns the first sentence of a docstring."""
    return " ".join(_sections(part)[""].split("\n\n")[0].split())


def equation(part: type) -> str | None:
    """Returns the first formula of a docstring, before its arguments, or `None`."""
    text = _sections(part)[""]
    for one in re.finditer(r"`([^`]+)`|^\n {4,}(\S[^\n]*)", text, re.MULTILINE):
        formula = " ".join((one[1] or one[2]).split()).rstrip(",.")
        if _MATHEMATICS.search(formula):
            return formula
    return None


def papers(part: type) -> list[str]:
    """Returns the sources of a docstring, as Markdown."""
    sections = _sections(part)
    return _items(sections.get("Reference", "") + sections.get("References", ""))


def _classes(part) -> set[type]:
    """Returns the class of a part, and those of its flows."""
    inside = getattr(part, "flows", ())
    return {type(part), *(type(one) for one in inside if isinstance(one, Flow))}


@functools.cache
def _measured(file: str = "peers.json") -> dict:
    """Returns what `benchmarks.peers` or `benchmarks.modalities` has written."""
    return json.loads(_PATH.with_name(file).read_text(encoding="utf-8"))


def beside(method: str, library: str, file: str = "peers.json") -> str | None:
    """Returns the figures of a method in a library, or `None`.

    Those of several modalities are of each seed, the others the means of all.
    """
    runs = list(_measured(file)["figures"].get(method, {}).get(library, {}).values())
    if not runs:
        return None
    if file == "modalities.json":
        said = "−log p " + ", ".join(format(run["nll"], ".1f") for run in runs) + " nats"
        if "image_to_label" in runs[0]:
            right = ", ".join(format(100 * run["image_to_label"], ".0f") for run in runs)
            said += f"; image → label {right} %"
        return said
    said = []
    if "nll" in runs[0]:
        said.append(f"NLL {_mean(runs, 'nll', 2)}")
    binary = method in _measured()["binary"]
    said.append(f"{'R' if binary else '‖·‖²'} {_mean(runs, 'reconstruction', 2)}")
    if "frechet" in runs[0]:
        said.append(f"FD {_mean(runs, 'frechet', 1)}")
    return ", ".join(said)


def _mean(runs: list[dict], name: str, digits: int) -> str:
    """Returns the mean of a figure over seeds, and of several their standard deviation."""
    values = [run[name] for run in runs]
    text = f"{statistics.fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{digits}f}"


def _beside(part: type) -> str | None:
    """Returns the figures of the first row of another library that has a part, or `None`."""
    for library, row in _rows().get(part, ()):
        file, package = _COMPARED.get(library, ("", ""))
        method = row.measured or row.name
        if file and (own := beside(method, "kvae", file)):
            other = beside(method, package, file)
            return f"{_DATA[file]}: {own}" + (f" ({package}: {other})" if other else "")
    return None


@functools.cache
def _cards() -> dict[type, list[Card]]:
    """Returns the measured cards of the zoo by the classes of their parts, the plainest first."""
    found: dict[type, list[tuple]] = {}
    for name in list_models():
        card = shipped(name)
        if not card.trained:
            continue
        architecture = ARCHITECTURES[card.architecture]
        used: set[type] = set()
        for kind in _PARTS:
            used |= _classes(architecture.part(kind, card.arguments))
        if sampler := card.recipe.get("sampler"):
            used.add(type(samplers.get(sampler)))
        special = sum(kind.__name__ not in _PLAIN for kind in used)
        for kind in used:
            order = special, "NLL" not in card.headline, card.published is None, name
            found.setdefault(kind, []).append((order, card))
    first = operator.itemgetter(0)
    return {kind: [card for _, card in sorted(cards, key=first)] for kind, cards in found.items()}


def figure(part: type) -> str:
    """Returns what was measured of a part, as Markdown: by a card, or as its docstring says."""
    said = _items(_sections(part).get("Measured", ""))
    for card in _cards().get(part, [])[:1]:
        anchor = card.name.replace(".", "")
        beside = f" (published: {card.published['value']})" if card.published else ""
        said.insert(0, f"[`{card.name}`](MODELS.md#{anchor}): {card.headline}{beside}")
    if not said and (found := _beside(part)):
        said.append(found)
    return "<br>".join(said) or "not measured"


def spelled(row: Row) -> str | None:
    """Returns how kvae says a row, as Markdown, or `None` where a part of it is in no register."""
    written = []
    for kind, name in row.parts.items():
        if name.partition(":")[0] not in KINDS[kind][0].REGISTER:
            return None
        if kind == "sampler":
            written.append(f"`kvae.samplers.get({name!r})`".replace("'", '"'))
    parts = [f'{kind}="{name}"' for kind, name in row.parts.items() if kind in _PARTS]
    if parts:
        written.insert(0, f"`{', '.join(parts)}`")
    return ", ".join(filter(None, (*written, row.note)))


@functools.cache
def _rows() -> dict[type, list[tuple[str, Row]]]:
    """Returns the rows of other libraries that have each class, with the library, in order."""
    found: dict[type, list[tuple[str, Row]]] = {}
    for library, rows in PEERS.items():
        for row in rows:
            parts = row.parts.items() if spelled(row) is not None else ()
            homes = [(KINDS[kind], name) for kind, name in parts]
            each = [_classes(resolve(home.REGISTER, name, base)) for (home, base, _), name in homes]
            for part in set[type]().union(*each):
                found.setdefault(part, []).append((library, row))
    return found


def _others(part: type) -> str:
    found: dict[str, list[str]] = {}
    for library, row in _rows().get(part, ()):
        found.setdefault(library, []).append(row.name)
    return "; ".join(f"{library} ({', '.join(names)})" for library, names in found.items())


def _table(kind: str) -> Iterator[str]:
    yield f"## {KINDS[kind][2]}\n"
    yield "| name | what it is | published in | figure | who else has it |"
    yield "|---" * 5 + "|"
    for part, names in methods(kind).items():
        says, formula = summary(part), equation(part)
        if formula and f"`{formula}`" not in says:
            says = f"{says}<br>`{formula}`"
        yield _row(
            ", ".join(f"`{name}`" for name in names) or f"`{part.__name__}(…)`",
            says,
            "<br>".join(papers(part)),
            figure(part),
            _others(part),
        )
    yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _peers() -> Iterator[str]:
    for library, rows in PEERS.items():
        had = [row for row in rows if spelled(row) is not None]
        yield f"### {library}\n"
        yield f"{len(had)} of {len(rows)} rows. Read from {SOURCES[library]}.\n"
        if library not in _COMPARED:
            yield f"| {library} | kvae |\n|---|---|"
            for row in rows:
                yield _row(f"`{row.name}`", spelled(row) or row.note or "not yet")
        else:
            file, package = _COMPARED[library]
            if file == "modalities.json":
                yield _MODALITIES.format(**_measured(file)["settings"], **_seeds(file))
            yield f"| {library} | kvae | kvae's figures | {package}'s figures |\n|---|---|---|---|"
            for row in rows:
                method = row.measured or row.name
                each = ("kvae", package)
                figures = (beside(method, name, file) or "not measured" for name in each)
                yield _row(f"`{row.name}`", spelled(row) or row.note or "not yet", *figures)
        yield ""


def page() -> str:
    """Returns the page as Markdown."""
    lines = [line for kind in KINDS for line in _table(kind)]
    others = _OTHERS.format(**_measured()["settings"], **_measured()["reference"], **_seeds())
    return _INTRODUCTION + "\n".join([*lines, others + "\n".join(_peers())])


def _seeds(file: str = "peers.json") -> dict[str, str]:
    """Returns which seeds were run, for the text of the page."""
    runs = [run for method in _measured(file)["figures"].values() for run in method.values()]
    seeds = sorted({int(seed) for run in runs for seed in run})
    words = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return {
        "seeds": " ".join(map(str, seeds)),
        "seeds_in_words": words,
        "first_seed": str(seeds[0]),
    }


def write(path=_PATH) -> pathlib.Path:
    """Writes the page, and returns its path."""
    with io.atomic_write(path) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    return pathlib.Path(path)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.methods_page", description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=_PATH)
    print(f"wrote {write(parser.parse_args().output)}")


if __name__ == "__main__":
    _main()
