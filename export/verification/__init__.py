"""Verification: exported files run in other runtimes, and what they return is compared."""
