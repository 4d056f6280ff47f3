"""Lambda execution environments: a function's Python code, really run."""
