"""Addresses as others can use them: where what listens is to be asked, and under which names."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address


def url_of(host: str, port: int) -> str:
    """Return where this machine asks what listens on ``host``: the loopback where that means every address."""
    address = _address(host)
    if address is not None and address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def names_of(host: str, listening: Iterable[socket.socket]) -> list[str]:
    """Return the ``Host`` names that are those of the sockets: the address asked for and those they have.

    None for a socket that listens on every address: that is no name, and any name could be pointed at it.
    """
    addresses = [each.getsockname()[0] for each in listening if each.family != socket.AF_UNIX]
    return [each for each in dict.fromkeys([host, *addresses]) if not _is_every(each)]


def _is_every(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None  # a name
