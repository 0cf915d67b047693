"""`kvae detect MODEL`."""

from kvae.cli import checks, common, files
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.detection.scores import SCORES
from kvae.utils.terminal import say

_SHOWN = 10  # Rows that are printed: the most unusual ones.
_DRAWN = 8


def add_arguments(parser) -> None:
    common.add_model(parser)
    files.add_whole_data(
        parser,
        "Judge all of these data: what `kvae train --data` takes, or the test split of a data "
        "set by its name.",
    )
    parser.add_argument(
        "--normal",
        metavar="PATH",
        type=checks.named_or_data,
        default=Unset("those that the model keeps"),
        help="Set the threshold by these normal data, which the model was not trained on: all of "
        "the data at a path, or the validation split of a data set by its name.",
    )
    parser.add_argument(
        "--score",
        choices=tuple(SCORES),
        default=Unset("the model's, or log_prob; reconstruction for autoencoders"),
        help="Measure this: " + "; ".join(f"{name}: {text}" for name, text in SCORES.items()) + ".",
    )
    parser.add_argument(
        "--samples",
        type=common.positive,
        default=Unset("the model's, or 64"),
        help="Use this many samples of z for each row.",
    )
    parser.add_argument(
        "--false-alarm-rate",
        metavar="SHARE",
        type=common.positive_number,
        default=Unset("the model's, or 0.05"),
        help="Flag at most this share of normal rows, in the mean.",
    )
    common.add_seed(parser, default=None)
    files.add_output(
        parser, "Write the score, p-value and verdict of every row into this .csv file."
    )
    parser.add_argument(
        "--map",
        metavar="FILE",
        type=checks.output_file,
        default=Unset("no file"),
        help="Write where each row is unusual into this .npy file: the nats of each value.",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=checks.output_file,
        default=Unset("no file"),
        help="Draw the most unusual rows and where they are so, or the nats of a table's columns, "
        "into this .png file.",
    )
    parser.add_argument(
        "--save",
        metavar="FILE",
        type=checks.output_file,
        default=Unset("no file"),
        help="Save the model with the threshold as this .keras file, which exports take.",
    )
    common.add_json(parser)


@command(
    "detect",
    add_arguments,
    "kvae detect dense_vae.digits --data digits --normal digits",
    "kvae detect runs/parts/model.keras --data new --normal good --save detector.keras",
    "kvae detect detector.keras --data new.csv --output verdicts.csv --plot unusual.png",
)
def run(arguments) -> int:
    """Finds unusual rows: anomaly scores, p-values and verdicts by a trained model.

    Scores are in nats: the higher, the more unusual. A row is flagged where a share of normal rows
    of at most --false-alarm-rate is as unusual. That holds if --normal was not part of the
    training, which the model knows better than other data.
    """
    files.check_endings(arguments, output=".csv", map=".npy", plot=".png", save=".keras")
    model = common.load_model(arguments.model)
    own.remember_card(model, arguments.model)
    from kvae.detection import Detector

    detector = Detector(
        model,
        arguments.score,
        num_samples=arguments.samples,
        seed=arguments.seed,
        false_alarm_rate=arguments.false_alarm_rate,
    )
    if arguments.normal is not None:
        detector.fit(own.whole_data(model, arguments.model, arguments.normal, "validation"))
    elif detector.calibration is None:
        raise ValueError(
            f"{arguments.model} keeps no threshold for this score: give --normal, data that are "
            "normal and that it was not trained on."
        )
    data = own.whole_data(model, arguments.model, arguments.data, "test")
    found = detector.detect(data)
    written = _write(arguments, detector, data, found)
    facts = {
        "score": detector.score_name,
        "rows": len(found),
        "flagged": int(found.is_anomaly.sum()),
        "threshold": found.threshold,
        "false_alarm_rate": found.false_alarm_rate,
        "normal_rows": len(detector.calibration.scores),
        "num_samples": detector.num_samples,
        "seed": detector.seed,
        "paths": written,
    }
    if arguments.json:
        common.print_json(facts)
        return 0
    say(str(found))
    rows = [
        (int(i), f"{found.score[i]:.4f}", f"{found.p_value[i]:.4f}", _verdict(found, i))
        for i in found.order[:_SHOWN]
    ]
    common.table("Most unusual", ("row", "score", "p-value", ""), rows)
    for path in written:
        say(f"wrote {path}")
    return 0


def _verdict(found, row: int) -> str:
    return "flagged" if found.is_anomaly[row] else ""


def _write(arguments, detector, data, found) -> list[str]:
    """Writes the files that are asked for, and returns their paths."""
    import numpy as np

    from kvae.utils import io
    from kvae.utils.csv_files import write_csv

    written = []
    if arguments.output is not None:
        values = (found.score, found.p_value, found.is_anomaly)
        rows = zip(range(len(found)), *(value.tolist() for value in values), strict=True)
        write_csv(arguments.output, [("row", "score", "p_value", "is_anomaly"), *rows])
        written.append(arguments.output)
    if arguments.map is not None:
        with io.atomic_write(arguments.map) as temporary, open(temporary, "wb") as file:
            np.save(file, detector.map(data), allow_pickle=False)
        written.append(arguments.map)
    if arguments.plot is not None:
        from kvae import plots

        first = found.order[:_DRAWN]
        rows = data.take(first)
        labels = [f"{i}\np = {found.p_value[i]:.2g}" for i in first.tolist()]
        plots.anomalies(
            detector.vae,
            rows.examples,
            detector.map(rows),
            arguments.plot,
            labels=labels,
            title="Most unusual rows",
        )
        written.append(arguments.plot)
    if arguments.save is not None:
        detector.save(arguments.save)
        written.append(arguments.save)
    return written
