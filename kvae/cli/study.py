"""`kvae study NAME`."""

import time

from kvae.cli import common
from kvae.utils import io
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    from kvae.studies import DATASETS, STUDIES

    parser.add_argument("name", choices=[*STUDIES, "all"], metavar="NAME", help=_names(STUDIES))
    data = "default digits; disentanglement knows only sprites, and all leaves out what has none"
    parser.add_argument("--dataset", choices=(*DATASETS, "sprites"), help=data)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, a look")
    parser.add_argument("--seed", type=common.from_0, default=0)
    parser.add_argument(
        "-o", "--output", default="studies", help="folder for the reports (default studies)"
    )
    parser.add_argument(
        "--cache",
        default="runs/studies",
        help="folder for trained models; a study started again goes on (default runs/studies)",
    )
    common.add_json(parser)


def _names(studies) -> str:
    return f"{', '.join(studies)}, or all"


def run(arguments) -> int:
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
