"""The result of a verification: a row for each comparison, and the report of all of them."""

import dataclasses
import math
import pathlib

__all__ = ["Report", "Row"]


@dataclasses.dataclass
class Row:
    """One comparison of an output at one batch size.

    Attributes:
        signature: str. The exported function.
        output: str. Its output.
        batch: int. Rows in the batch.
        max_abs_error: float or `None`. The largest absolute difference from the model; `None`
            where there was no model to compare with, or nothing was returned. Each effective sample
            size has a bound of its own, and the difference nearest to its bound counts.
        tolerance: float or `None`. The difference that is allowed, relative to `scale`.
        runtime: str. The runtime that ran the file.
        scale: float. The largest absolute value of the reference, but at least 1. Images in [0, 1]
            are thus compared absolutely, and large logits relative to their size. For effective
            sample sizes it turns the tolerance of log-weights into that of `max_abs_error`.
        error: str. The reason why there is nothing to compare, in one line.
        optional: bool. Whether a further runtime ran the file, whose answers block no publication.
    """

    signature: str
    output: str
    batch: int
    max_abs_error: float | None
    tolerance: float | None
    runtime: str
    scale: float = 1.0
    error: str = ""
    optional: bool = False

    @property
    def ok(self) -> bool:
        """Checks whether the signature ran, and its numbers agree."""
        if self.error:
            return False
        if self.max_abs_error is None or self.tolerance is None:
            return True
        return self.max_abs_error <= self.tolerance * self.scale


@dataclasses.dataclass(repr=False)
class Report:
    """The findings of `export.verify`. It prints as a table, and is true when everything agrees.

    Attributes:
        path: Path. The file or folder that ran.
        precision: str. `"float32"`, `"float16"`, `"dynamic"` or `"int8"`; `"mixed_float16"` or
            `"mixed_bfloat16"` of networks that compute in half precision.
        rows: list of `Row`.
    """

    path: pathlib.Path
    precision: str
    rows: list[Row]

    @property
    def ok(self) -> bool:
        """Checks whether there are rows, and all of them are fine."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def required_ok(self) -> bool:
        """Returns whether there are rows and all of them are fine, apart from further runtimes."""
        rows = [row for row in self.rows if not row.optional]
        return bool(rows) and all(row.ok for row in rows)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def max_abs_error(self) -> float | None:
        """Returns the largest difference of all rows; `None` when nothing was compared."""
        errors = [row.max_abs_error for row in self.rows if row.max_abs_error is not None]
        return max(errors, key=lambda e: (math.isnan(e), e)) if errors else None

    def to_dict(self) -> dict:
        """Returns the report as a dict of plain types, for JSON."""
        rows = [{**dataclasses.asdict(row), "ok": row.ok} for row in self.rows]
        for row in rows:
            if row["max_abs_error"] is not None and not math.isfinite(row["max_abs_error"]):
                row["max_abs_error"] = None  # JSON knows no NaN; `error` says what happened.
        return {
            "path": str(self.path),
            "ok": self.ok,
            "precision": self.precision,
            "max_abs_error": self.max_abs_error,
            "rows": rows,
        }

    def _merged(self) -> list[tuple[Row, list[int]]]:
        """Returns one row, of the largest error, for all batch sizes at which an output is fine."""
        found: dict[tuple, tuple[Row, list[int]]] = {}
        for index, row in enumerate(self.rows):
            key = (row.signature, row.output, row.runtime)
            key = key if row.ok else (*key, index)
            best, sizes = found.get(key, (row, []))
            best = row if (row.max_abs_error or 0.0) > (best.max_abs_error or 0.0) else best
            found[key] = best, sorted({*sizes, row.batch})
        return list(found.values())

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Returns the titles of the columns and the cells of the rows, one for all batch sizes."""
        titles = ("signature", "output", "batch", "max error", "allowed", "runtime", "")
        cells = [
            (
                row.signature,
                row.output,
                ", ".join(str(size) for size in sizes),
                "-" if row.max_abs_error is None else f"{row.max_abs_error:.1e}",
                "-" if row.tolerance is None else f"{row.tolerance * row.scale:.1e}",
                row.runtime,
                "ok" if row.ok else f"FAILED {row.error}".rstrip(),
            )
            for row, sizes in self._merged()
        ]
        return titles, cells

    @property
    def headline(self) -> str:
        """The file or folder, its precision and the verdict, in one line."""
        return f"{self.path} ({self.precision}): {self._verdict}"

    def __str__(self) -> str:
        titles, cells = self.table()
        widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in (titles, *cells)
        ]
        return "\n".join([self.headline, *lines])

    def __repr__(self) -> str:
        return f"<Report {self.path}: {self._verdict}, {len(self.rows)} rows>"

    @property
    def _verdict(self) -> str:
        return "verified" if self.ok else "NOT verified"
