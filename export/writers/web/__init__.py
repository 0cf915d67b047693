"""Writes a static page that runs a model's decoder in the browser."""

from export.writers.web import page as page  # It registers the format.
