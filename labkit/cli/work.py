"""Commands that work on the pipeline: build, run, verify, clean."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import labkit.session
from labkit.cli import FAILED, OK
from labkit.errors import LabError
from labkit.session import Lab

ROOT = Path(__file__).resolve().parents[2]
A_DAY_OF_ORDERS = ROOT / "data" / "orders" / "day.jsonl"


def add(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands."""
    build = commands.add_parser("build", help="build the orders pipeline, or bring it up to date")
    build.add_argument(
        "--through", default="99", metavar="NN", help="only what notebook NN finds when it starts"
    )
    build.set_defaults(run=build_pipeline)

    run = commands.add_parser(
        "run", help="build, upload orders, wait until they are processed, verify"
    )
    run.add_argument(
        "--orders", type=Path, metavar="PATH", help="a .json or .jsonl file, or a folder of them "
        "(default: a day's worth of orders that comes with the lab)",
    )  # fmt: skip
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    run.set_defaults(run=run_orders)

    verify = commands.add_parser("verify", help="the ten steps and seven confirmations, seen anew")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=verify_pipeline)

    clean = commands.add_parser("clean", help="remove what the lab created, prove nothing is left")
    clean.add_argument("--json", action="store_true", help="print the result as JSON")
    clean.set_defaults(run=clean_up)


def build_pipeline(options: argparse.Namespace) -> int:
    """Build the pipeline."""
    from labkit import pipeline

    lab = _opened(options)
    done = pipeline.build(lab, options.through)
    print("Built: " + (", ".join(done).replace("_", " ") or "nothing is needed yet") + ".")
    return OK


def run_orders(options: argparse.Namespace) -> int:
    """Build, process orders, verify, and say where the rejected ones went."""
    from labkit import evidence, orders, pipeline, traffic
    from labkit.witness import Witness

    path = options.orders or A_DAY_OF_ORDERS
    try:
        records = orders.read(path)
    except (OSError, ValueError) as problem:
        raise LabError(f"{problem}; --orders takes a .json or .jsonl file, or a folder") from None
    lab = _opened(options)
    pipeline.build(lab)
    witness = Witness(lab)
    # Read what the stream has counted before anything is on its way.
    _ = witness.started
    witness.outcome = outcome = traffic.process(lab, records)
    report = evidence.verify(lab, witness)
    sources = {sent.key: sent.source for sent in outcome.sent}
    if options.json:
        rejected = [
            {
                "keys": list(found.keys),
                "sources": [sources.get(key, "") for key in found.keys],
                "reason": found.reason,
                "attempts": found.attempts,
                "queue": lab.names.dead_letter_queue,
            }
            for found in outcome.rejected
        ]
        result = {
            **report.as_dict(),
            **_where(lab),
            "orders": {
                "objects": len(outcome.sent),
                "good": len(outcome.good),
                "done": len(outcome.done),
                "rejected": len(outcome.rejected),
                "unfinished": outcome.unfinished,
                "seconds": round(outcome.seconds, 3),
            },
            "rejected": rejected,
        }
        print(json.dumps(result, indent=2, default=str))
    else:
        print(report)
        if outcome.rejected:
            print(f"\nRejected orders are in {lab.names.dead_letter_queue}:")
            print(outcome.table)
        print("\nEverything stays up; python -m labkit clean removes it.")
    return OK if report.ok else FAILED


def verify_pipeline(options: argparse.Namespace) -> int:
    """Verify what stands."""
    from labkit import evidence

    lab = _opened(options)
    report = evidence.verify(lab)
    if options.json:
        print(json.dumps({**report.as_dict(), **_where(lab)}, indent=2, default=str))
    else:
        print(report)
        if not report.ok:
            print("\nWhat is missing can be built again: python -m labkit build", file=sys.stderr)
    return OK if report.ok else FAILED


def clean_up(options: argparse.Namespace) -> int:
    """Remove everything and look whether it is gone."""
    from labkit import cleanup

    if _nothing_can_be_there(options):
        return OK
    lab = _opened(options)
    cleaned = cleanup.clean(lab)
    if options.json:
        result = {
            "ok": cleaned.ok,
            "removed": [{"kind": f.kind.name, "id": f.id} for f in cleaned.removed],
            "left": [
                {"kind": f.kind.name, "id": f.id, "why": cleaned.problems.get(f.id, "")}
                for f in cleaned.left
            ],
        }
        print(json.dumps(result, indent=2))
    else:
        print(cleaned)
    return OK if cleaned.ok else FAILED


def _nothing_can_be_there(options: argparse.Namespace) -> bool:
    """True when the local AWS is not running: what it held went with it, so none is started."""
    from labkit.connection import LOCAL, which_aws
    from labkit.localaws import process

    if which_aws().kind != LOCAL or process.find() is not None:
        return False
    if options.json:
        print(json.dumps({"ok": True, "removed": [], "left": []}, indent=2))
    else:
        print("The local AWS is not running, so there is nothing to remove.")
    return True


def _opened(options: argparse.Namespace) -> Lab:
    """The lab; with --json, standard output is for the JSON alone."""
    lab = labkit.session.open(quiet=True)
    print(lab, file=sys.stderr if getattr(options, "json", False) else sys.stdout)
    return lab


def _where(lab: Lab) -> dict[str, Any]:
    """Which AWS, and what the resources are called."""
    names = lab.names
    return {
        "aws": {"kind": lab.kind, "endpoint": lab.endpoint},
        "resources": {
            **asdict(names),
            "bucket": names.bucket,
            "log_group": names.log_group,
            "queue_arn": names.queue_arn,
            "topic_arn": names.topic_arn,
            "stream_arn": names.stream_arn,
            "table_arn": names.table_arn,
            "function_arn": names.function_arn,
            "role_arn": names.role_arn,
        },
    }
