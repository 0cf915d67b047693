"""`kvae export MODEL`."""

from kvae.cli import common


def add_arguments(parser) -> None:
    common.add_model(parser)
    parser.add_argument("-f", "--format", choices=("saved_model", "tflite"), default="saved_model")
    parser.add_argument(
        "-o", "--output", help="default: serving/MODEL for a SavedModel, MODEL.tflite"
    )
    parser.add_argument("--version", type=common.positive, help="SavedModel: default the next")
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "float16", "dynamic", "int8"),
        help="TFLite weights",
    )
    parser.add_argument("--batch-size", type=common.positive, default=1, help="TFLite: fixed")
    parser.add_argument(
        "--calibrate", metavar="DATASET", help="images that set the ranges of int8 (default: prior)"
    )
    parser.add_argument("--no-verify", action="store_true", help="do not run the written file")
    common.add_json(parser)


def run(arguments) -> int:
    model = common.load_model(arguments.model)
    import export

    stem = arguments.model.rsplit("/", 1)[-1].removesuffix(".keras")
    if arguments.format == "saved_model":
        path = export.saved_model(
            model, arguments.output or f"serving/{stem}", version=arguments.version
        )
    else:
        calibration = None
        if arguments.calibrate:
            import kvae

            calibration = kvae.datasets.load(arguments.calibrate, "train")[:256]
        path = export.tflite(
            model,
            arguments.output or f"{stem}.tflite",
            precision=arguments.precision,
            batch_size=arguments.batch_size,
            calibration=calibration,
        )
    report = None if arguments.no_verify else export.verify(path, model)
    if arguments.json:
        common.print_json(
            {"path": str(path), "verification": None if report is None else report.to_dict()}
        )
    else:
        print(f"wrote {path}")
        if report is not None:
            print(report)
    return 0 if report is None or report.ok else 1
