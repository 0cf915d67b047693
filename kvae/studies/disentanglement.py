"""Does a price on the total correlation give each factor a latent of its own?"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from kvae import objectives
from kvae.datasets import Sprites
from kvae.evaluation.differences import Difference, signed
from kvae.evaluation.disentanglement import SCORES, disentanglement, udr
from kvae.plots import style
from kvae.plots.walk import kl_per_dimension
from kvae.studies.lab import Lab
from kvae.studies.registry import Study, register
from kvae.studies.run import Run

__all__ = ["Disentanglement", "gap", "of_seeds"]

METHODS = {
    "VAE": (lambda: objectives.ELBO(), "the ELBO as it is"),
    "β-VAE": (lambda: objectives.ELBO(beta=4.0), "the KL weighted by 4"),
    "β-TCVAE": (lambda: objectives.BetaTCVAE(beta=6.0), "the total correlation weighted by 6"),
    "FactorVAE": (
        lambda: objectives.FactorVAE(gamma=35.0, discriminator_width=300, discriminator_depth=4),
        "the total correlation, as a discriminator estimates it, weighted by 35 besides",
    ),
}
_SEEDS = 3
_SHOWN = ("factor_vae_score", "mig", "dci_disentanglement")
_QUICK = {"num_train": 300, "num_test": 100, "num_groups": 10, "group_size": 8}
_UDR = "udr"
_TITLES = {**SCORES, _UDR: "UDR"}
_SEEN = 2000  # Test images whose codes tell how much alike trainings are.
_WALK = 9  # The number of images of a walk along one latent.


@dataclasses.dataclass(frozen=True)
class _Row:
    """The measurements of one training."""

    method: str
    seed: int
    run: Run
    scores: dict

    @property
    def values(self) -> dict[str, float]:
        terms = {name: float(self.run.terms[name].mean()) for name in ("reconstruction", "kl")}
        return {**terms, **self.scores}


def of_seeds(values: ArrayLike) -> Difference:
    """Returns the mean over trainings, with its standard error."""
    values = np.asarray(values, np.float64)
    return Difference(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def gap(first: ArrayLike, second: ArrayLike) -> Difference:
    """Returns the difference of two methods' means over their independent trainings."""
    a, b = of_seeds(first), of_seeds(second)
    return Difference(a.value - b.value, float(np.hypot(a.error, b.error)))


@register("disentanglement")
class Disentanglement(Study):
    question = "Does a price on the total correlation disentangle, and how much of it is luck?"
    datasets = ("sprites",)

    def run(self, lab: Lab) -> None:
        lab.likelihood_images = 0
        seeds = range(lab.seed, lab.seed + (2 if lab.quick else _SEEDS))
        rows = [
            _measure(lab, method, objective(), seed)
            for method, (objective, _) in METHODS.items()
            for seed in seeds
        ]
        images = lab.data("test", None).examples[:_SEEN]
        _compare_seeds(rows, images)
        table = {
            method: {
                name: np.array([row.values[name] for row in rows if row.method == method])
                for name in rows[0].values
            }
            for method in METHODS
        }
        _write(lab, rows, table, len(images))
        _pictures(lab, rows)
        _conclude(lab, rows, table)


def _measure(lab, method, objective, seed) -> _Row:
    # A loss that a discriminator estimates is another in every epoch.
    monitor = "val_elbo" if isinstance(objective, objectives.FactorVAE) else "val_loss"
    run = lab.fit(
        f"{method}, seed {seed}", objective=objective, binarize=None, seed=seed, monitor=monitor
    )

    def measure():
        found = disentanglement(run.vae, Sprites(), seed=lab.seed, **(_QUICK if lab.quick else {}))
        return {name: found[name] for name in SCORES}

    name = "disentanglement_quick" if lab.quick else "disentanglement"
    scores = {key: float(value) for key, value in run.measured(name, measure).items()}
    lab.say(f"{run.name}: FactorVAE score {scores['factor_vae_score']:.3f}")
    return _Row(method, seed, run, scores)


def _compare_seeds(rows, images) -> None:
    """Adds the score that knows no factors: how much alike the trainings of a method are."""
    for method in METHODS:
        members = [row for row in rows if row.method == method]
        found = udr([row.run.vae for row in members], images)[_UDR]
        for row, value in zip(members, found, strict=True):
            row.scores[_UDR] = float(value)


def _write(lab, rows, table, seen: int) -> None:
    report = lab.report
    report.heading("The methods")
    report.text(
        "Equal networks, equal data in an equal order; the objective and the seed of the weights "
        "and of the noise are all that differs. FactorVAE's best epoch is chosen by the ELBO: a "
        "loss that a discriminator estimates is another in every epoch."
    )
    report.table(("method", "objective"), [(name, text) for name, (_, text) in METHODS.items()])
    report.heading("Scores")
    count = len(rows) // len(METHODS)
    report.text(
        f"Mean and standard deviation of {count} seeds. Reconstruction and KL in nats per test "
        "image; the scores, from 0 to 1, by kvae.evaluation.disentanglement on all "
        f"{len(Sprites()):,} sprites. UDR knows no factors: it is high where the codes of a "
        f"training are found again by the method's other seeds (kvae.evaluation.udr, {seen:,} "
        "test images)."
    )
    names = {"reconstruction": "reconstruction", "kl": "KL", **_TITLES}
    report.table(
        ("quantity", *table),
        [
            (title, *(_spread(values[name], 2 if name in ("reconstruction", "kl") else 3)
                      for values in table.values()))
            for name, title in names.items()
        ],
    )  # fmt: skip
    report.heading("Each training")
    report.table(
        ("method", "seed", "training, seconds", *(_TITLES[name] for name in (*_SHOWN, _UDR))),
        [
            (row.method, row.seed, f"{row.run.seconds:.0f}",
             *(f"{row.scores[name]:.3f}" for name in (*_SHOWN, _UDR)))
            for row in rows
        ],
    )  # fmt: skip


def _spread(values, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def _pictures(lab, rows) -> None:
    _plot(lab, rows)
    best = max(rows, key=lambda row: row.scores["mig"])
    walks, still = _walks(lab, best.run)
    names = ", ".join(name.partition(" ")[0] for name in still)
    left_out = f"; left out, since they change no pixel by a tenth: {names}" if still else ""
    lab.draw_rows(
        "walks.png",
        walks,
        "One latent at a time, first what changes the image most",
        f"{best.method}, seed {best.seed}, which has the largest MIG; from −2 to 2, the other "
        f"latents those of a test image{left_out}",
    )
    lab.report.images(
        ("scores.png", "Each training's scores"),
        ("walks.png", "What each latent of the training with the largest MIG changes"),
    )


def _walks(lab, run) -> tuple[dict, list[str]]:
    """Returns the walks that change the image, and the names of the latents that do not."""
    params = run.vae.encode(lab.data("test", None).examples[:1000])
    kl = kl_per_dimension(run.vae, {name: np.asarray(part) for name, part in params.items()})
    start = np.asarray(run.vae.posterior.mean(params))[0]
    walks = {}
    for dim in range(len(start)):
        z = np.tile(start, (_WALK, 1))
        z[:, dim] = np.linspace(-2.0, 2.0, _WALK)
        walks[f"z[{dim}] {kl[dim]:.1f} nats"] = np.asarray(run.vae.decode(z.astype("float32")))
    return by_change(walks)


def by_change(walks: dict) -> tuple[dict, list[str]]:
    """Returns the walks `[steps, *event]` of latents, first the one that changes the image most.

    Returns:
        `(walks, still)`; those in `still` are left out, since they change no pixel by a tenth.
    """
    changes = {name: np.ptp(walk, axis=0) for name, walk in walks.items()}
    order = sorted(walks, key=lambda name: -changes[name].mean())
    still = [name for name in order[1:] if changes[name].max() < 0.1]
    return {name: walks[name] for name in order if name not in still}, sorted(still)


def _plot(lab, rows) -> None:
    @style.styled
    def draw(path):
        figure = style.new_figure(9.0, 3.5)
        methods = list(METHODS)
        for axes, name in zip(figure.subplots(1, len(_SHOWN)), _SHOWN, strict=True):
            for row in rows:
                place = methods.index(row.method)
                axes.plot(row.scores[name], place, "o", color=style.PALETTE[place], clip_on=False)
            axes.set(yticks=range(len(methods)), yticklabels=methods, xlabel=SCORES[name])
            axes.set(ylim=(len(methods) - 0.5, -0.5), xlim=(0.0, None))
            axes.grid(axis="x")
            if name != _SHOWN[0]:
                axes.set_yticklabels([])
        title = "Scores of each training, a dot for each seed; further right is better"
        figure.suptitle(title, x=0.13 / 9.0, ha="left", weight="bold", fontsize=11)
        style.save(figure, path)

    with lab.drawing("scores.png") as path:
        draw(path)


def _conclude(lab, rows, table) -> None:
    def of(*methods):
        return [row.run for row in rows if row.method in methods]

    for score in ("factor_vae_score", "mig"):
        for method, other in (("β-VAE", "VAE"), ("β-TCVAE", "β-VAE"), ("FactorVAE", "β-VAE")):
            apart = gap(table[method][score], table[other][score])
            lab.finding(
                f"{method} disentangles better than {other}, by its {SCORES[score]}",
                apart.exceeds(),
                f"{signed(apart.value, 3)} ± {apart.error:.3f}",
                of(method, other),
            )
    apart = gap(table["β-VAE"]["reconstruction"], table["FactorVAE"]["reconstruction"])
    lab.finding(
        "A price on the total correlation alone costs less reconstruction than one on all the KL",
        apart.exceeds(),
        f"β-VAE pays {signed(apart.value)} ± {apart.error:.2f} nats per image more than FactorVAE",
        of("β-VAE", "FactorVAE"),
    )
    for score in ("factor_vae_score", "mig"):
        within = float(np.sqrt(np.mean([v[score].var(ddof=1) for v in table.values()])))
        between = float(np.std([v[score].mean() for v in table.values()], ddof=1))
        lab.finding(
            f"The seed matters more than the method for the {SCORES[score]}",
            within > between,
            f"standard deviation of the seeds {within:.3f}, of the methods' means {between:.3f}",
        )
    for score in ("factor_vae_score", "mig"):
        order = spearmanr(*([row.scores[name] for row in rows] for name in (_UDR, score)))
        # The error is the deviation of the rank correlations that chance gives.
        found = Difference(float(order.statistic), 1 / np.sqrt(len(rows) - 1))
        lab.finding(
            f"UDR, which knows no factors, orders the trainings as their {SCORES[score]} does",
            found.exceeds(),
            f"rank correlation {signed(found.value)} ± {found.error:.2f}",
            of(*METHODS),
        )
    best = {name: max(table, key=lambda method: table[method][name].mean()) for name in SCORES}
    counts = {method: list(best.values()).count(method) for method in table}
    lab.finding(
        "The scores agree on which method is the best",
        len(set(best.values())) == 1,
        ", ".join(f"{method} by {count}" for method, count in counts.items() if count)
        + f" of {len(best)} scores",
    )
