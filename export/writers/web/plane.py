"""The plane of latents that the page shows, and numbers as its JSON holds them."""

import numpy as np

__all__ = ["numbers", "plane"]


def plane(codes: np.ndarray) -> dict:
    """Returns the plane that the page shows: z itself, or its first two principal components."""
    size = codes.shape[1]
    if size <= 2:
        centre, axes = np.zeros(size), np.eye(2, size)
    else:
        centre = codes.mean(axis=0, dtype=np.float64)
        _, _, axes = np.linalg.svd(codes - centre, full_matrices=False)
        axes = axes[:2]
        # The sign is arbitrary, so the largest component is made positive.
        largest = np.abs(axes).argmax(axis=1)
        axes = axes * np.sign(axes[np.arange(2), largest])[:, None]
    placed = (codes - centre) @ axes.T
    total = np.square(codes - centre).sum()
    return {
        "centre": numbers(centre),
        "axes": numbers(axes),
        "extent": float(f"{1.1 * np.quantile(np.abs(placed), 0.999):.3g}") or 1.0,
        "explained": float(f"{np.square(placed).sum() / max(total, 1e-12):.3g}"),
    }


def numbers(values) -> list:
    """Returns an array as lists of numbers, each the shortest that is the same in float32.

    Raises:
        ValueError: for numbers that are not finite.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("The model's codes are not finite, so there is nothing to show.")
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(str(np.float32(value))) for value in values]  # Shortest that is exact.
