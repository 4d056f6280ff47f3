"""Orders on their way in: read them from files, upload each as an object of its own.

A record keeps the bytes it had in its file, whatever they are: an order that cannot be read must
reach the function as it is, so that the function can refuse it.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from labkit.day import generate

__all__ = ["Judgement", "RawOrder", "generate", "judge", "read", "rejected", "upload"]

FUNCTION_FOLDER = Path(__file__).parent / "functions" / "process_order"
REJECTED = Path(__file__).parent.parent / "data" / "rejected"
LARGE, FIVE_MEGABYTES = "five-megabytes.json", 5_000_000
ENDINGS = (".json", ".jsonl")
UPLOADS_AT_ONCE = 8  # boto3 keeps up to 10 connections to a service open


@dataclass(frozen=True)
class RawOrder:
    """One record of a file as its bytes, with a name that is safe in an S3 key."""

    name: str
    body: bytes
    source: str  # the file and, where it has several, the place in it

    def key(self, prefix: str = "orders/") -> str:
        """The S3 key this record is uploaded to."""
        return f"{prefix}{self.name}.json"


class Judgement(NamedTuple):
    """What the function's own rules say of an object: its good orders, and each bad one's reason."""

    orders: list[dict[str, Any]]
    reasons: list[str]


def read(path: str | Path) -> list[RawOrder]:
    """The records in a .json file (one order or a list), a .jsonl file, or a folder of both.

    Names are unique and the same each time, so that uploading again overwrites the same objects.
    `FileNotFoundError` when nothing is there, `ValueError` when there is no such file in it.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
        root = path
    elif not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    else:
        files = [path] if path.suffix.lower() in ENDINGS else []
        root = path.parent
    if not files:
        raise ValueError(f"{path}: orders come from .json or .jsonl files, or a folder of them")
    taken: set[str] = set()
    return [record for file in files for record in _records(file, root, taken)]


def _records(file: Path, root: Path, taken: set[str]) -> Iterator[RawOrder]:
    inside = file.relative_to(root)
    parts = list(_parts(file.suffix.lower(), file.read_bytes()))
    for place, body in parts:
        name = _safe(inside.with_suffix("").as_posix()) + (f"-{place:04d}" if place else "")
        unique, number = name, 1
        while unique.lower() in taken:  # a.json beside a.jsonl, or two names with one safe form
            number += 1
            unique = f"{name}.{number}"
        taken.add(unique.lower())
        yield RawOrder(unique, body, f"{inside.as_posix()} {place}" if place else inside.as_posix())


def _parts(suffix: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of each record: the line in JSON lines, the place in a list, 0 if alone."""
    if suffix == ".jsonl":
        yield from _lines(data)
        return
    elements = _list_elements(data)
    if elements is not None:
        yield from enumerate(elements, 1)
    elif _is_json_lines(data):
        yield from _lines(data)
    else:
        yield 0, data


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, as bytes: one that is not UTF-8 must stay what it is."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            yield number, line.removesuffix(b"\r")


def _is_json_lines(data: bytes) -> bool:
    """True when the data is not one JSON text but has lines that look like one each."""
    if len(list(_lines(data))) < 2:
        return False
    try:
        json.loads(data, parse_int=str, parse_float=str)
        return False
    except (ValueError, RecursionError):
        lines = (line for _, line in _lines(data))
        return any(line[:1] == b"{" and line.rstrip()[-1:] == b"}" for line in lines)


def _list_elements(data: bytes) -> list[bytes] | None:
    """The elements of a JSON list, each with the bytes it has there; None if it is not a list."""
    try:
        text = data.decode("utf-8-sig")
        if text.lstrip()[:1] != "[":
            return None
        return [element.encode() for element in _elements(text)]
    except (ValueError, RecursionError):
        return None  # a broken list is one broken record


def _elements(text: str) -> Iterator[str]:
    # The decoder tells where a value ends; the numbers in it are nobody's business here.
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    skip = re.compile(r"[ \t\r\n]*").match
    at = skip(text, skip(text).end() + 1).end()  # behind the opening bracket
    if text[at : at + 1] == "]":
        end = at
    else:
        while True:
            _, end = decoder.raw_decode(text, at)
            yield text[at:end]
            end = skip(text, end).end()
            if text[end : end + 1] != ",":
                break
            at = skip(text, end + 1).end()
    if text[end:].rstrip() != "]":
        raise ValueError("the list does not end where the file does")


def _safe(name: str) -> str:
    """The name with only the characters S3 calls safe, and not too long for a key."""
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", name).strip("-./")[-200:] or "order"


def rejected() -> list[tuple[RawOrder, str]]:
    """One record of each kind that the function refuses, with the start of the reason it gives.

    From ``data/rejected``, where ``reasons.csv`` says which file shows what; the object of 5 MB is
    made here.
    """
    records = {Path(record.source).name: record for record in read(REJECTED)}
    large = b'{"OrderId": "BAD-18", "Amount": 42.50, "Note": "%s"}'
    large %= b"x" * (FIVE_MEGABYTES - len(large) + 2)
    records[LARGE] = RawOrder(LARGE.removesuffix(".json"), large, LARGE)
    with open(REJECTED / "reasons.csv", encoding="utf-8", newline="") as file:
        return [(records[row["file"]], row["reason"]) for row in csv.DictReader(file)]


def upload(
    s3: Any,
    bucket: str,
    orders: Sequence[RawOrder],
    *,
    prefix: str = "orders/",
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Put every record into the bucket as its own object; returns the keys, in order.

    Several at a time. ``progress(done, total)`` is called after each. The first refusal by S3
    ends it, as botocore's ``ClientError``.
    """
    done, lock = 0, threading.Lock()

    def put(order: RawOrder) -> str:
        nonlocal done
        key = order.key(prefix)
        s3.put_object(Bucket=bucket, Key=key, Body=order.body, ContentType="application/json")
        with lock:
            done += 1
            if progress:
                progress(done, len(orders))
        return key

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        waiting = [pool.submit(put, order) for order in orders]
        try:
            return [upload.result() for upload in waiting]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def judge(body: bytes) -> Judgement:
    """What the function will make of an object with these bytes, by the function's own rules."""
    rules = _rules()
    orders, reasons = [], []
    try:
        if len(body) > rules.MAX_OBJECT_BYTES:
            limit = rules.MAX_OBJECT_BYTES
            raise rules.Rejected(f"the object has {len(body)} bytes; at most {limit} are read")
        for place, text in rules.split(body):
            try:
                orders.append(rules.read_order(text))
            except rules.Rejected as reason:
                reasons.append(f"{place.strip()}: {reason}" if place else str(reason))
    except rules.Rejected as reason:
        reasons.append(str(reason))
    return Judgement(orders, reasons)


@functools.cache
def _rules() -> ModuleType:
    """The deployed ``orders.py``, which is not part of this package: loaded from its file."""
    file = FUNCTION_FOLDER / "orders.py"
    spec = importlib.util.spec_from_file_location("process_order_rules", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
