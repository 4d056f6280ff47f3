"""The managed runtime's own packages: what a function can import without bringing it along.

AWS's Python runtimes hold boto3, botocore and what these need, and nothing else. A directory of
links to the lab's installed copies (``/var/runtime`` of an environment) shows a function exactly
these, so that an import that would fail on AWS fails here too. aws-lambda-powertools is there as
if its public layer were attached (Lambda Developer Guide, "Building Lambda functions with
Python", section "Runtime-included SDK versions").
"""

from __future__ import annotations

import compileall
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

PROVIDED = ("awslambdaric", "boto3", "aws-lambda-powertools", "aws-xray-sdk")


def distributions(names: tuple[str, ...] = PROVIDED) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions of *names* and of all they require, by canonical name.

    What is not installed is left out.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = distribution
        for requirement in distribution.requires or []:
            # Extras and other platforms' needs carry a marker; those of a plain install that
            # do too are simply not found.
            if ";" in requirement and "extra" in requirement.split(";", 1)[1]:
                continue
            waiting.append(re.match(r"[A-Za-z0-9._-]+", requirement)[0])
    return found


@functools.cache
def provided_files(names: tuple[str, ...] = PROVIDED) -> dict[str, Path]:
    """Name in the runtime's directory to installed file or directory, for all of *names*."""
    entries: dict[str, Path] = {}
    for distribution in distributions(names).values():
        for file in distribution.files or []:
            top = file.parts[0]
            if top in ("..", "__pycache__", "bin") or top.endswith((".pth", ".egg-link")):
                continue
            entries[top] = Path(os.path.abspath(distribution.locate_file(top)))
    return entries


def _link(target: Path, source: str, is_directory: bool) -> None:
    """Make *target* show *source*: a link, a Windows junction, or failing both a copy."""
    try:
        os.symlink(source, target, target_is_directory=is_directory)
    except OSError:
        if is_directory and sys.platform == "win32":
            import _winapi

            _winapi.CreateJunction(source, str(target))
        else:
            shutil.copy2(source, target)


def build_runtime_directory(
    directory: Path,
    *,
    own_client: bool,
    shown_at: dict[Path, str] | None = None,
    names: tuple[str, ...] = PROVIDED,
) -> Path:
    """Fill *directory* with the bootstrap and links to the provided packages; returns it.

    *own_client* puts our pure-Python ``runtime_client`` in the place of awslambdaric's native
    one. *shown_at* maps a site directory to the path it has in the environment's file system,
    when that differs.
    """
    directory.mkdir(parents=True)
    child = Path(__file__).with_name("child")
    for source in ("bootstrap.py", "task_import.py"):
        shutil.copyfile(child / source, directory / source)
    if own_client:
        shutil.copyfile(child / "runtime_client.py", directory / "runtime_client.py")
    for name, source in sorted(provided_files(names).items()):
        if (own_client and name.startswith("runtime_client.")) or not source.exists():
            continue
        shown = str(source)
        if shown_at and source.parent in shown_at:
            shown = f"{shown_at[source.parent]}/{name}"
        _link(directory / name, shown, source.is_dir())
    return directory


def compile_missing(names: tuple[str, ...] = PROVIDED) -> list[str]:
    """Compile provided packages that were installed without byte code; their names.

    Environments see the packages read-only: without this each cold start would compile anew what
    it imports. Where the lab cannot write either, nothing happens.
    """
    compiled = []
    for name, path in provided_files(names).items():
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix != ".py" or not source.exists():
            continue
        if os.path.exists(importlib.util.cache_from_source(str(source))):
            continue
        if path.is_dir():
            compileall.compile_dir(path, quiet=2)
        else:
            compileall.compile_file(path, quiet=2)
        compiled.append(name)
    return compiled


def site_directories(names: tuple[str, ...] = PROVIDED) -> list[Path]:
    """The directories that the provided packages are installed in."""
    return sorted({path.parent for path in provided_files(names).values()})


def native_client_installed() -> bool:
    """Whether awslambdaric came with its native part (it does on Linux)."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    names = provided_files(("awslambdaric",))
    return any(name.startswith("runtime_client.") and name.endswith(suffix) for name in names)


def base_python() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
