"""`kvae study NAME`."""

import time

from kvae.cli import common
from kvae.cli.command import command
from kvae.utils import io
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    from kvae.studies import DATASETS, STUDIES

    parser.add_argument(
        "name",
        choices=[*STUDIES, "all"],
        metavar="NAME",
        help=f"One of {', '.join(STUDIES)}, or all.",
    )
    parser.add_argument(
        "--dataset",
        choices=(*DATASETS, "sprites"),
        help="Use this data set (default: digits, but sprites for disentanglement). With all, "
        "studies that do not know it are left out.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="Take seconds instead of minutes, for a first look."
    )
    common.add_seed(parser, default=0)
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default="studies",
        help="Write the reports into this folder (default: studies).",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        default="runs/studies",
        help="Keep trained models in this folder, so that the same command goes on where it was "
        "stopped (default: runs/studies).",
    )
    common.add_json(parser)


def _names(studies) -> str:
    return f"{', '.join(studies)}, or all"


@command("study", add_arguments, "kvae study why-sample --quick", "kvae study all")
def run(arguments) -> int:
    """Answers a question about variational autoencoders by an experiment.

    Each study trains several models, measures them and writes a page with its findings.
    """
    common.quiet_tensorflow()
    import tensorflow as tf

    from kvae.studies.lab import Lab

    # Many models in one process: each traces its functions anew, of which TensorFlow warns.
    tf.get_logger().setLevel("ERROR")
    output = io.writable_folder(arguments.output)
    io.writable_folder(arguments.cache)
    results = []
    for name, study, dataset in _chosen(arguments.name, arguments.dataset):
        start = time.monotonic()
        if not arguments.json:
            say(f"{name}: {study.question}", flush=True)
        lab = Lab(
            name,
            study.question,
            dataset=dataset,
            quick=arguments.quick,
            seed=arguments.seed,
            folder=output / f"{name}-{dataset}",
            cache=arguments.cache,
            say=(lambda line: None) if arguments.json else _say,
        )
        study.run(lab)
        folder = lab.write()
        results.append(
            {
                "study": name,
                "folder": str(folder),
                "seconds": round(time.monotonic() - start, 1),
                "findings": [
                    {"claim": found.claim, "holds": found.holds, "evidence": found.evidence}
                    for found in lab.findings
                ],
            }
        )
        if not arguments.json:
            for found in lab.findings:
                say(f"  {found}")
            say(f"wrote {folder}/index.html and README.md", flush=True)
    if arguments.json:
        common.print_json(results)
    return 0


def _chosen(name: str, dataset: str | None) -> list[tuple]:
    """Name, study and data set of what is to be made.

    Raises:
        ValueError: for one study, and a data set that it does not know.
    """
    from kvae import studies

    several = name == "all"
    found = [(each, studies.get(each)) for each in (studies.STUDIES if several else [name])]
    known = {each: studies.datasets_of(study) for each, study in found}
    if not several and dataset not in (None, *known[name]):
        raise ValueError(f"{name} is made on {' or '.join(known[name])}, not on {dataset}.")
    return [
        (each, study, dataset or known[each][0])
        for each, study in found
        if dataset in (None, *known[each])
    ]


def _say(line: str) -> None:
    say(f"  {line}", flush=True)
