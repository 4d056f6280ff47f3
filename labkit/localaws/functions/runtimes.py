"""Which runtimes Lambda takes, and which of them this local AWS can run.

AWS Lambda Developer Guide, "Lambda runtimes"; the order of the lists is that of the front end's
messages.
"""

from __future__ import annotations

import hashlib

from labkit.localaws import constraints
from labkit.localaws.call import AwsError
from labkit.localaws.functions.errors import invalid

SUPPORTED = (
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
)
DEPRECATED = frozenset(
    {
        "nodejs",
        "nodejs4.3",
        "nodejs4.3-edge",
        "nodejs6.10",
        "nodejs8.10",
        "nodejs10.x",
        "nodejs12.x",
        "nodejs14.x",
        "java8",
        "python2.7",
        "python3.6",
        "python3.7",
        "dotnetcore1.0",
        "dotnetcore2.0",
        "dotnetcore2.1",
        "dotnetcore3.1",
        "go1.x",
        "ruby2.5",
        "ruby2.7",
        "provided",
    }
)
# In the service's model, later than the front end's message.
NEWER = frozenset(
    {
        "ruby4.0",
        "nodejs26.x",
        "python3.15",
        "java8.al2023",
        "java11.al2023",
        "java17.al2023",
    }
)
# What the lists of layers can be asked for, some of it never offered to the public.
_LAYER_RUNTIMES = (
    "ruby3.5 ruby2.6 dotnetcore1.0 python3.7 nodejs8.10 nasa ruby2.7 python2.7-greengrass "
    "dotnetcore2.0 python3.8 java21 dotnet6 dotnetcore2.1 python3.9 java11 nodejs6.10 provided "
    "dotnetcore3.1 dotnet8 java25 java17 nodejs nodejs4.3 java8.al2 go1.x dotnet10 nodejs20.x "
    "go1.9 byol nodejs10.x provided.al2023 nodejs22.x python3.10 java8 nodejs12.x python3.11 "
    "nodejs24.x nodejs8.x python3.12 nodejs14.x nodejs8.9 nodejs26.x python3.13 python3.14 "
    "nodejs16.x python3.15 provided.al2 nodejs4.3-edge nodejs18.x ruby3.2 python3.4 ruby3.3 "
    "ruby3.4 ruby2.5 python3.6 python2.7"
).split()
# The first Python runtime with SnapStart.
_SNAPSTART_FROM = (3, 12)


def enum_text() -> str:
    """The supported runtimes as the front end's messages list them."""
    return f"[{', '.join(SUPPORTED)}]"


def check(runtime: str) -> None:
    """Raise ``InvalidParameterValueException`` when a function can't have *runtime* here."""
    if runtime in DEPRECATED:
        raise invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating "
            "AWS Lambda functions. We recommend you use a supported runtime while creating or "
            "updating functions."
        )
    if runtime not in SUPPORTED and runtime not in NEWER:
        raise invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum "
            f"value set: {enum_text()} or be a valid ARN"
        )
    if not runtime.startswith("python"):
        raise invalid(
            f"This local AWS can't run {runtime}: it runs Python functions from zip packages only. "
            f"Choose one of {', '.join(python_runtimes())}."
        )


def check_of_layer(runtime: str | None) -> None:
    """Raise ``ValidationException`` for a CompatibleRuntime that lists of layers don't know."""
    if runtime and runtime not in _LAYER_RUNTIMES and runtime not in NEWER:
        wording = f"Member must satisfy enum value set: [{', '.join(_LAYER_RUNTIMES)}]"
        told = constraints.violation(runtime, "compatibleRuntime", wording)
        raise AwsError("ValidationException", constraints.message([told]))


def python_runtimes() -> list[str]:
    """The Python runtimes a function can have, oldest first."""
    names = [name for name in (*SUPPORTED, *NEWER) if name.startswith("python")]
    return sorted(names, key=_number)


def check_snap_start(runtime: str) -> None:
    """Refuse SnapStart for a runtime that has none."""
    if _number(runtime) < _SNAPSTART_FROM:
        raise invalid(f"{runtime} is not supported for SnapStart enabled functions.")


def version_arn(runtime: str, region: str) -> str:
    """The ARN of the runtime version functions of *runtime* run on."""
    digest = hashlib.sha256(f"{region}:{runtime}".encode()).hexdigest()
    return f"arn:aws:lambda:{region}::runtime:{digest}"


def _number(runtime: str) -> tuple[int, ...]:
    return tuple(int(part) for part in runtime.removeprefix("python").split("."))
