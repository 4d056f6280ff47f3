"""The zip of a Lambda function, the same bytes for the same source."""

from __future__ import annotations

import importlib.metadata
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parent / "functions"

# What the functions import beyond Python and boto3, which every Lambda runtime has.
PACKAGES = ("aws-lambda-powertools", "jmespath", "typing-extensions")


def function_zip(name: str, *, with_packages: bool) -> bytes:
    """The deployment package of ``labkit/functions/<name>``.

    *with_packages* adds the pure-Python packages the source needs, copied from this installation:
    AWS has only what is in the zip, while the local AWS runs functions on the learner's Python
    (Lambda guide, "Working with .zip file archives for Python Lambda functions").
    """
    folder = FUNCTIONS / name
    files = {path.relative_to(folder).as_posix(): path for path in _source(folder)}
    if with_packages:
        for package in PACKAGES:
            files.update(_installed(package))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, path in sorted(files.items()):
            # A fixed date: a zip that differs only in time would look like new code to Lambda.
            entry = zipfile.ZipInfo(inside, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _source(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _installed(package: str) -> Iterator[tuple[str, Path]]:
    for file in importlib.metadata.files(package) or ():
        path = Path(str(file.locate()))
        inside = file.as_posix()
        if path.suffix in (".py", ".json", ".typed") and not inside.startswith(".."):
            yield inside, path
