"""The named datasets: one file for each family, with its facts, its reader and its split rule."""
