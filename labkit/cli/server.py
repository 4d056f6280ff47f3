"""Commands about the local AWS itself and about JupyterLab: lab, up, down, status, clock."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import labkit.session
from labkit.cli import OK
from labkit.connection import LOCAL, which_aws
from labkit.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
FIRST_NOTEBOOK = "notebooks/00-start-here.ipynb"


def add(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands."""
    lab = commands.add_parser(
        "lab", help="open JupyterLab at the first notebook; takes its options too: --no-browser"
    )
    lab.set_defaults(run=open_jupyterlab, jupyter=[])

    up = commands.add_parser("up", help="start or find the local AWS and say how to reach it")
    up.add_argument("--port", type=int, help="listen on this port (default: a free one)")
    up.add_argument("--idle-minutes", type=float, help="end after this long without a request")
    up.add_argument("--json", action="store_true", help="print JSON instead of export lines")
    up.add_argument("--access-key-id", help="the administrator's key, for programs that fix it")
    up.add_argument("--secret-access-key", help="the secret that goes with it")
    up.add_argument("--account-id", help="the account's twelve digits")
    up.set_defaults(run=start)

    down = commands.add_parser("down", help="stop the local AWS; what was built in it is gone")
    down.set_defaults(run=stop)

    status = commands.add_parser("status", help="say whether the local AWS runs, and where")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=tell)

    clock = commands.add_parser("clock", help="show the lab's time, or move it forward")
    actions = clock.add_subparsers(metavar="action")
    advance = actions.add_parser("advance", help="move time forward, for example: --minutes 5")
    for unit in ("seconds", "minutes", "hours", "days"):
        advance.add_argument(f"--{unit}", type=float, default=0, metavar="N")
    advance.set_defaults(run=advance_clock)
    clock.set_defaults(run=show_clock)


def open_jupyterlab(options: argparse.Namespace) -> int:
    """Run JupyterLab until it is closed."""
    if not (ROOT / FIRST_NOTEBOOK).exists():
        raise LabError(f"there is no {FIRST_NOTEBOOK} in {ROOT}; run this from a clone of the lab")
    command = [
        sys.executable, "-m", "jupyterlab",
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}",
        # No question about news and no look for updates: the lab needs no network.
        f"--LabApp.app_settings_dir={ROOT / 'labkit' / 'jupyterlab'}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *options.jupyter,
    ]  # fmt: skip
    try:
        return subprocess.run(command, env=_jupyter_environment(), check=False).returncode
    except KeyboardInterrupt:
        return OK


def start(options: argparse.Namespace) -> int:
    """Print how to reach the local AWS, started if need be."""
    from labkit.localaws import process

    try:
        running = process.ensure(
            port=options.port,
            idle_minutes=options.idle_minutes,
            access_key_id=options.access_key_id,
            secret_access_key=options.secret_access_key,
            account_id=options.account_id,
        )
    except process.LocalAwsError as problem:
        raise LabError(str(problem)) from problem
    if options.json:
        print(json.dumps(running.as_dict()))
        return OK
    for name, value in _settings(running).items():
        print(f'$env:{name} = "{value}"' if os.name == "nt" else f"export {name}={value}")
    print(f"# account {running.account_id}, process {running.pid}; stop: python -m labkit down")
    return OK


def stop(options: argparse.Namespace) -> int:
    """Stop the local AWS."""
    from labkit.localaws import process

    print("The local AWS is stopped." if process.stop() else "No local AWS was running.")
    return OK


def tell(options: argparse.Namespace) -> int:
    """Say whether the local AWS runs."""
    from labkit.localaws import process

    running = process.find()
    if running is None:
        print(json.dumps({"running": False}) if options.json else "The local AWS is not running.")
        return OK
    status = running.control("status")
    if options.json:
        print(json.dumps({"running": True, **status}))
        return OK
    ahead = timedelta(seconds=round(status["clock_ahead_seconds"]))
    print(
        f"The local AWS runs at {running.endpoint} (account {running.account_id}, "
        f"region {running.region}, process {running.pid}); its clock is {ahead} ahead."
    )
    unfinished = status.get("unfinished")
    if unfinished:
        print(f"Running now: {', '.join(f'{n} x {what}' for what, n in unfinished.items())}")
    return OK


def show_clock(options: argparse.Namespace) -> int:
    """Print the lab's time and what is due next."""
    lab = labkit.session.open(quiet=True)
    print(f"{lab.clock.now():%Y-%m-%d %H:%M:%S} UTC")
    for when, name in lab.clock.due()[:20]:
        print(f"  due {when:%Y-%m-%d %H:%M:%S}  {name}")
    return OK


def advance_clock(options: argparse.Namespace) -> int:
    """Move the lab's clock."""
    lab = labkit.session.open(quiet=True)
    spans = {unit: getattr(options, unit) for unit in ("seconds", "minutes", "hours", "days")}
    if not any(spans.values()):
        raise LabError("say how far, for example: python -m labkit clock advance --minutes 5")
    print(lab.clock.advance(**spans))
    return OK


def _settings(running: object) -> dict[str, str]:
    """The environment variables with which any boto3 program or AWS CLI reaches the local AWS."""
    return {
        "AWS_ENDPOINT_URL": running.endpoint,  # type: ignore[attr-defined]
        "AWS_DEFAULT_REGION": running.region,  # type: ignore[attr-defined]
        "AWS_REGION": running.region,  # type: ignore[attr-defined]
        "AWS_ACCESS_KEY_ID": running.access_key_id,  # type: ignore[attr-defined]
        "AWS_SECRET_ACCESS_KEY": running.secret_access_key,  # type: ignore[attr-defined]
    }


def _jupyter_environment() -> dict[str, str]:
    """JupyterLab's environment: in local mode, plain boto3 in a cell can't reach a real account.

    A cell that says ``boto3.client("s3")`` instead of ``lab.client("s3")`` gets the local AWS too.
    """
    environment = dict(os.environ)
    if which_aws().kind != LOCAL:
        return environment
    from labkit.localaws import process

    try:
        running = process.ensure()
    except process.LocalAwsError as problem:
        raise LabError(str(problem)) from problem
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **_settings(running), **nowhere, "AWS_EC2_METADATA_DISABLED": "true"}
