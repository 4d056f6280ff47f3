"""Measurements, kept apart from the tests: run them with ``python -m tests.benchmarks``."""
