"""How values of an event are compared with those of a pattern."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from labkit.localaws.services.pattern_tokens import PatternError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def equal(wanted: Any, value: Any) -> bool:
    """Whether two values of JSON are the same: numbers by value, anything else by kind too."""
    # For Python True is 1; for JSON it is not.
    if isinstance(wanted, bool) or isinstance(value, bool) or wanted is None or value is None:
        return wanted is value
    if isinstance(wanted, str) or isinstance(value, str):
        return type(wanted) is type(value) and wanted == value
    return wanted == value


def between(bounds: Mapping[str, float]) -> Callable[[Any], bool]:
    """A test for numbers within *bounds* (operator to number)."""

    def test(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return all(
            {
                "<": value < bound,
                "<=": value <= bound,
                ">": value > bound,
                ">=": value >= bound,
            }[operator]
            for operator, bound in bounds.items()
        )

    return test


def network(text: str) -> Network:
    """The addresses that ``10.0.0.0/24`` and alike stand for; raises PatternError."""
    address, slash, bits = text.partition("/")
    if not slash or "/" in bits:
        raise PatternError("Malformed CIDR, one '/' required")
    if not bits.isdigit():
        raise PatternError("Malformed CIDR, mask bits must be an integer")
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise PatternError(f"Nonstandard IP address: {address}") from None
    if int(bits) > ip.max_prefixlen:
        raise PatternError(f"IPv{ip.version} mask bits must be < {ip.max_prefixlen + 1}")
    return ipaddress.ip_network(text, strict=False)


def inside(text: str, addresses: Network) -> bool:
    """Whether *text* is one of the addresses."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == addresses.version and address in addresses
