"""`kvae study NAME`."""

import dataclasses
import time

from kvae.cli import checks, common
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.cli.training_data import source_of
from kvae.utils import io
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        type=_study,
        help="The study, all for each of them, or list for their names and questions.",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        type=checks.dataset,
        default=Unset("the study's usual one"),
        help="Use this data set. With all, studies that are not made on it are left out.",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=checks.data,
        default=Unset("the data set"),
        help="Use images of your own in a folder with a subfolder for each class, or what else "
        "`kvae train --data` takes. Not for studies of known factors (disentanglement).",
    )
    own.add_image_reading(parser)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="Take seconds instead of minutes, for a first look. Nothing is concluded from it.",
    )
    common.add_seed(parser, default=0)
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=checks.output_folder,
        default="studies",
        help="Write the reports into this folder.",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        type=checks.output_folder,
        default="runs/studies",
        help="Keep trained models in this folder, so that the same command goes on where it was "
        "stopped.",
    )
    common.add_json(parser)


def _study(text: str) -> str:
    """The name of a study, or a word for several."""
    return text if text in ("all", "list") else checks.named("study")(text)


@command(
    "study",
    add_arguments,
    "kvae study list",
    "kvae study why-sample --quick",
    "kvae study why-sample --data photos",
)
def run(arguments) -> int:
    """Answers a question about variational autoencoders by an experiment.

    Each study trains several models, measures them and writes a page with its findings.
    """
    if arguments.name == "list":
        others = [word for word in arguments.argv if word.startswith("-") and word != "--json"]
        if others:
            raise ValueError(f"kvae study list makes no study, and takes no {others[0]}.")
    elif arguments.name != "all" and not arguments.data:
        _check_dataset(arguments.name, arguments.dataset, checks.study_datasets(arguments.name))
    common.quiet_tensorflow()
    import tensorflow as tf

    from kvae.studies.lab import Lab

    if arguments.name == "list":
        return _list(arguments.json)
    # Many models in one process: each traces its functions anew, of which TensorFlow warns.
    tf.get_logger().setLevel("ERROR")
    source = source_of(arguments)
    chosen = _chosen(arguments.name, arguments.dataset, source)
    output = io.writable_folder(arguments.output)
    io.writable_folder(arguments.cache)
    results = []
    for name, study, dataset in chosen:
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
            source=source,
            say=(lambda line: None) if arguments.json else _say,
        )
        study.run(lab)
        folder = lab.write()
        results.append(
            {
                "study": name,
                "folder": str(folder),
                "seconds": round(time.monotonic() - start, 1),
                "warning": lab.warning,
                "findings": [dataclasses.asdict(found) for found in lab.findings],
            }
        )
        if not arguments.json:
            for line in (lab.warning, *lab.findings):
                if line:
                    say(f"  {line}")
            say(f"wrote {folder}/index.html and README.md", flush=True)
    if arguments.json:
        common.print_json(results)
    return 0


def _list(as_json: bool) -> int:
    """Prints the name, the question and the datasets of each study."""
    from kvae import studies

    found = {name: studies.get(name) for name in studies.names()}
    if as_json:
        common.print_json(
            [
                {"study": name, "question": study.question, "datasets": list(study.datasets)}
                for name, study in found.items()
            ]
        )
        return 0
    rows = [(name, study.question, ", ".join(study.datasets)) for name, study in found.items()]
    common.table("Studies", ("name", "question", "datasets"), rows)
    return 0


def _chosen(name: str, dataset: str | None, source=None) -> list[tuple]:
    """Returns the name, the study and the dataset of each study that is to be made.

    Raises:
        ValueError: for an unknown study, and for one study and a dataset that it is not made on.
    """
    from kvae import studies

    several = name == "all"
    found = [(each, studies.get(each)) for each in (studies.names() if several else [name])]
    if source is not None:
        # A study of digits can be made of any images with labels.
        found = [(each, study) for each, study in found if "digits" in study.datasets]
        if not found:
            raise ValueError(f"{name} needs data whose factors are known, not --data.")
        return [(each, study, source.schema.name) for each, study in found]
    if not several:
        _check_dataset(name, dataset, found[0][1].datasets)
    return [
        (each, study, dataset or study.datasets[0])
        for each, study in found
        if dataset in (None, *study.datasets)
    ]


def _check_dataset(name: str, dataset: str | None, known) -> None:
    if known is not None and dataset not in (None, *known):
        raise ValueError(f"{name} is made on {' or '.join(known)}, not on {dataset}.")


def _say(line: str) -> None:
    say(f"  {line}", flush=True)
