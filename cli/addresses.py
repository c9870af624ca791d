"""Listening addresses as callers use them: the URL to ask, and the ``Host`` names to accept."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address


def url_of(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a server on ``host``: the loopback for 0.0.0.0 and ::."""
    address = _address(host)
    if address is not None and address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def names_of(host: str, listening: Iterable[socket.socket]) -> list[str]:
    """Return the ``Host`` names under which the sockets are reached: ``host`` and the addresses they are bound to.

    0.0.0.0 and :: are left out: they are not names, and any name can be made to point to such a socket.
    """
    addresses = [bound.getsockname()[0] for bound in listening if bound.family != socket.AF_UNIX]
    return [name for name in dict.fromkeys([host, *addresses]) if not _is_unspecified(name)]


def _is_unspecified(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None  # a name
