"""Deployment packages: where they come from, what they must be, what is told about them.

AWS Lambda Developer Guide, "Lambda quotas": 50 MB zipped in a request, 250 MB unzipped with all
layers; API Reference, "FunctionCode" and "LayerVersionContentInput".
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.localaws.call import AwsError
from labkit.localaws.functions.errors import invalid, too_large
from labkit.localaws.runtime.version import CodeArchive

ZIPPED_LIMIT = 52_428_800
UNZIPPED_LIMIT = 262_144_000
# A package of the largest size, base64-encoded, and the rest of the request.
REQUEST_LIMIT = 70_167_211

# (bucket, key, version or None) -> the object's bytes; raises AwsError as S3 answers.
FetchObject = Callable[[str, str, str | None], bytes]


@dataclass(frozen=True)
class Package:
    """One deployment package: the archive, its size and its size unzipped in bytes, and its
    SHA-256 in base64, as CodeSha256 shows it."""

    archive: CodeArchive
    size: int
    unzipped: int
    sha256: str


def read(source: Mapping[str, Any], fetch: FetchObject) -> Package:
    """The package that *source* (ZipFile, or S3Bucket and S3Key) gives, checked.

    Raises ``InvalidParameterValueException`` with Lambda's words for what is not usable.
    """
    if source.get("ImageUri"):
        raise invalid("Please don't provide ImageUri when updating a function with packageType Zip.")
    from_s3 = any(source.get(name) for name in ("S3Bucket", "S3Key", "S3ObjectVersion"))
    if source.get("ZipFile") is not None:
        if from_s3:
            raise invalid(
                "Please do not provide other FunctionCode parameters when providing a ZipFile."
            )
        data = bytes(source["ZipFile"])
    elif source.get("S3Bucket") and source.get("S3Key"):
        data = _from_s3(source, fetch)
    else:
        raise invalid("Please provide a source for function code.")
    return package(data)


def package(data: bytes) -> Package:
    """The package with the zip file *data*; refuses what can't be unzipped or is too large."""
    if not data:
        raise invalid("Uploaded file must be a non-empty zip")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise invalid(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        ) from None
    if not entries:
        raise invalid("Uploaded file must be a non-empty zip")
    unzipped = sum(entry.file_size for entry in entries)
    if unzipped > UNZIPPED_LIMIT:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED_LIMIT} bytes")
    digest = hashlib.sha256(data)
    return Package(
        CodeArchive(data=data, sha256=digest.hexdigest()),
        len(data),
        unzipped,
        base64.b64encode(digest.digest()).decode(),
    )


def check_zip_size(source: Mapping[str, Any]) -> None:
    """Refuse (413) a ZipFile over the limit; it is looked at before the request's own size."""
    if len(source.get("ZipFile") or b"") > ZIPPED_LIMIT:
        raise too_large(f"Zipped size must be smaller than {ZIPPED_LIMIT} bytes")


def check_request_size(operation: str, size: int) -> None:
    """Refuse (413) a request whose body is larger than any package could make it."""
    if size >= REQUEST_LIMIT:
        raise too_large(
            f"Request must be smaller than {REQUEST_LIMIT} bytes for the {operation} operation"
        )


def _from_s3(source: Mapping[str, Any], fetch: FetchObject) -> bytes:
    bucket, key = source["S3Bucket"], source["S3Key"]
    try:
        return fetch(bucket, key, source.get("S3ObjectVersion"))
    except AwsError as error:
        if error.code in ("AccessDenied", "AccessDeniedException"):
            raise AwsError(
                "AccessDeniedException",
                "Your access has been denied by S3, please make sure your request credentials "
                f"have permission to GetObject for {bucket}/{key}. S3 Error Code: AccessDenied. "
                f"S3 Error Message: {error.message}",
                403,
            ) from error
        raise invalid(
            f"Error occurred while GetObject. S3 Error Code: {error.code}. "
            f"S3 Error Message: {error.message}"
        ) from error
