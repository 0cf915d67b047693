"""Serving: repositories for TensorFlow Serving, a client of it, and ways to run a server."""
