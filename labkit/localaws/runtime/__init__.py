"""Lambda execution environments: a function's Python code, really run."""

from labkit.localaws.runtime.environments import Environments, EnvironmentsClosed, NoCapacity
from labkit.localaws.runtime.result import InvocationResult
from labkit.localaws.runtime.version import CodeArchive, FunctionVersion, Layer

__all__ = [
    "CodeArchive",
    "Environments",
    "EnvironmentsClosed",
    "FunctionVersion",
    "InvocationResult",
    "Layer",
    "NoCapacity",
]
