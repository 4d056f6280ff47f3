"""Lambda's errors, made as its front end answers them."""

from __future__ import annotations

from labkit.localaws.call import AwsError

REVISION_OF_FUNCTION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
REVISION_OF_POLICY = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id"
)
REVISION_OF_LAYER_POLICY = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetLayerPolicy API to retrieve the latest Revision Id"
)


def invalid(message: str) -> AwsError:
    """``InvalidParameterValueException`` (400)."""
    return AwsError("InvalidParameterValueException", message, 400, Type="User")


def not_found(message: str = "The resource you requested does not exist.") -> AwsError:
    """``ResourceNotFoundException`` (404)."""
    return AwsError("ResourceNotFoundException", message, 404, Type="User")


def function_not_found(arn: str) -> AwsError:
    """``ResourceNotFoundException`` for a function, version or alias that is not there."""
    return not_found(f"Function not found: {arn}")


def conflict(message: str) -> AwsError:
    """``ResourceConflictException`` (409)."""
    return AwsError("ResourceConflictException", message, 409, Type="User")


def precondition(message: str = REVISION_OF_FUNCTION) -> AwsError:
    """``PreconditionFailedException`` (412): a revision id that is no longer the latest."""
    return AwsError("PreconditionFailedException", message, 412, Type="User")


def too_large(message: str) -> AwsError:
    """``RequestEntityTooLargeException`` (413): a package or request over its limit."""
    return AwsError("RequestEntityTooLargeException", message, 413)


def check_revision(given: str | None, *latest: str, wording: str = REVISION_OF_FUNCTION) -> None:
    """Refuse (412) a revision id that was *given* and is none of the *latest*."""
    if given and given not in latest:
        raise precondition(wording)
