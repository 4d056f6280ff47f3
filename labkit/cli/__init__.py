"""The commands of ``python -m labkit``: what each takes, and how all of them end.

Exit codes: 0 all is well; 1 a step failed, or something is left; 2 the command was not understood;
3 the lab could not go on, and said why; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from labkit.errors import LabError

OK, FAILED, NOT_POSSIBLE, INTERRUPTED = 0, 1, 3, 130

_EPILOG = """\
exit codes: 0 all is well, 1 a step failed or something is left, 2 the command was not
understood, 3 the lab could not go on (it says why), 130 interrupted

which AWS: the local one, unless LABKIT_AWS says otherwise: the URL of an endpoint, or
account:123456789012 for a real account, which asks before it spends money
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    _never_fail_to_print()
    commands = parser()
    options, unknown = commands.parse_known_args(arguments)
    if unknown and not hasattr(options, "jupyter"):
        commands.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.jupyter = [word for word in unknown if word != "--"]
    try:
        return options.run(options)
    except LabError as problem:
        print(f"labkit: {problem}", file=sys.stderr)
        return NOT_POSSIBLE
    except KeyboardInterrupt:
        print("labkit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Somebody closed the pipe, for example with head.
        with contextlib.suppress(OSError):
            sys.stdout.close()
        return OK
    except Exception as problem:
        if not _is_aws(problem):
            raise
        print(f"labkit: {_explained(problem)}", file=sys.stderr)
        return NOT_POSSIBLE


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from labkit.cli import server, work

    top = argparse.ArgumentParser(
        prog="python -m labkit",
        description="A hands-on AWS lab that runs on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="command", required=True)
    server.add(commands)
    work.add(commands)
    return top


def _never_fail_to_print() -> None:
    """Let consoles with few letters, as on Windows, show a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _is_aws(problem: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(problem, (BotoCoreError, ClientError))


def _explained(problem: Exception) -> str:
    """An AWS error in one line, with what to do when the AWS does not answer at all."""
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(problem, NoConnection):
        return f"{problem}\nIs this AWS running? python -m labkit status tells; LABKIT_AWS chooses."
    return str(problem)
