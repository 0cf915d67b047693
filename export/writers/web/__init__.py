"""A static page that runs a model's decoder in the browser."""
