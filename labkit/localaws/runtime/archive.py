"""Unpacked packages: each zip file is unpacked once, layers are merged once per combination.

A zip may not reach outside its directory, and keeps the file modes it was made with: what AWS
does with a deployment package (Lambda Developer Guide, "Deploy Python Lambda functions with .zip
file archives").
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import threading
import uuid
import zipfile
from pathlib import Path, PurePosixPath

from labkit.localaws.runtime.version import CodeArchive, Layer

# Bytes of an unpacked package, layers included (Lambda quotas, "Function configuration").
MAX_UNPACKED_BYTES = 262_144_000


class ArchiveError(ValueError):
    """A package that cannot be unpacked: not a zip, unsafe names, or too large."""


def _target(member: str) -> PurePosixPath | None:
    """Where *member* goes, relative to the root; None for the root itself.

    Raises ArchiveError for a name that would leave the directory.
    """
    name = member.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise ArchiveError(f"the archive holds a path outside the package: {member}")
    return path if path.parts else None


def _check_link(path: PurePosixPath, link: str) -> None:
    """Refuse a symbolic link that leads outside the package."""
    depth = len(path.parts) - 1
    if link.startswith("/"):
        raise ArchiveError(f"the archive holds a link outside the package: {path}")
    for part in PurePosixPath(link).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise ArchiveError(f"the archive holds a link outside the package: {path}")


def unpack(data: bytes, directory: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> int:
    """Unpack a zip into *directory*, which may exist; the number of bytes written.

    Existing files are replaced, so that layers can be laid over one another. Raises ArchiveError.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"could not unzip the package: {error}") from None
    written = 0
    with archive:
        if sum(info.file_size for info in archive.infolist()) > max_bytes:
            raise ArchiveError(f"unzipped size must be smaller than {max_bytes} bytes")
        for info in archive.infolist():
            path = _target(info.filename)
            if path is None:
                continue
            target = directory / path
            # A link in an earlier member must not carry a later one outside.
            if any((directory / parent).is_symlink() for parent in path.parents):
                raise ArchiveError(f"the archive writes through a link: {info.filename}")
            mode = info.external_attr >> 16
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                content = archive.read(info)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
                raise ArchiveError(f"could not unzip {info.filename}: {error}") from None
            if target.is_symlink() or target.is_file():
                target.unlink()
            if stat.S_ISLNK(mode) and os.name == "posix":
                link = content.decode("utf-8", "surrogateescape")
                _check_link(path, link)
                target.symlink_to(link)
                continue
            target.write_bytes(content)
            written += len(content)
            # Readable always: the function runs as another user on AWS, and zips made on Windows
            # carry no mode at all.
            target.chmod(((mode & 0o777) or 0o644) | 0o444)
    return written


class CodeStore:
    """Where packages lie unpacked: ``code(...)`` and ``layers(...)`` give the directories.

    Directories are named by content, made whole before they get their name, and never changed
    afterwards, so that any number of environments share them.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def code(self, archive: CodeArchive) -> Path:
        """The directory that holds the unpacked package."""
        return self._unpacked(archive.digest, [archive])

    def layers(self, layers: tuple[Layer, ...]) -> Path:
        """The directory that ``/opt`` shows: all layers, later ones over earlier ones."""
        digests = [layer.archive.digest for layer in layers]
        name = "opt-" + hashlib.sha256(" ".join(digests).encode()).hexdigest()
        return self._unpacked(name, [layer.archive for layer in layers])

    def _unpacked(self, name: str, archives: list[CodeArchive]) -> Path:
        target = self.directory / name
        if target.is_dir():
            return target
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if target.is_dir():
                return target
            building = self.directory / f".{uuid.uuid4().hex}"
            building.mkdir(parents=True)
            try:
                room = MAX_UNPACKED_BYTES
                for archive in archives:
                    room -= unpack(archive.read(), building, max_bytes=room)
                os.replace(building, target)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
        return target
