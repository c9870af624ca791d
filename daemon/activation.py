"""Listening sockets passed by the service manager (sd_listen_fds(3)), checked before use.

ZeroMQ accepts any descriptor as a listening socket and then waits silently, so a wrong one must be an error here,
with a message that names it.
"""

import os
import socket
from collections.abc import Collection, Mapping, MutableMapping

#: The first descriptor that the service manager passes; the others follow without a gap.
FIRST_DESCRIPTOR = 3
UNIX = frozenset({socket.AF_UNIX})
UNIX_OR_TCP = frozenset({socket.AF_UNIX, socket.AF_INET, socket.AF_INET6})

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class WrongDescriptor(Exception):
    """A passed descriptor is not what this component listens on; the message names it and says what to do."""


def passed_descriptors(environ: MutableMapping[str, str] | None = None) -> list[tuple[str, int]]:
    """Return name and number of each descriptor passed to this process; empty if there are none.

    The variables are removed and the descriptors made close-on-exec: they are for no child of ours.

    Raises:
        WrongDescriptor: The variables contradict each other, or a descriptor is not open.
    """
    environ = os.environ if environ is None else environ
    pid, count, names = (environ.pop(variable, "") for variable in _VARIABLES)
    if pid != str(os.getpid()):
        return []  # none, or meant for a parent of ours
    if not count.isdecimal():
        raise WrongDescriptor(f"LISTEN_FDS is {count!r}; it must be a number")
    descriptors = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    named = names.split(":") if names else ["unknown"] * len(descriptors)
    if len(named) != len(descriptors):
        raise WrongDescriptor(f"LISTEN_FDNAMES names {len(named)} descriptors, LISTEN_FDS says {count}")
    for descriptor in descriptors:
        try:
            os.set_inheritable(descriptor, False)
        except OSError as error:
            raise WrongDescriptor(f"descriptor {descriptor} of LISTEN_FDS={count} is not open") from error
    return list(zip(named, descriptors, strict=True))


def adopt_sockets(
    expected: Mapping[str, Collection[int]], environ: MutableMapping[str, str] | None = None
) -> dict[str, list[socket.socket]]:
    """Return the passed sockets by name; empty where this process was not activated.

    Args:
        expected: The names this component knows, and the address families each may have.
        environ: The environment; this process's if not given.

    Raises:
        WrongDescriptor: An unknown name, or not a listening stream socket of those families.
    """
    adopted: dict[str, list[socket.socket]] = {}
    for name, descriptor in passed_descriptors(environ):
        if name not in expected:
            raise WrongDescriptor(
                f"descriptor {descriptor} is named {name!r}, which is unknown here; "
                f"set FileDescriptorName= in its socket unit to {' or '.join(expected)}"
            )
        adopted.setdefault(name, []).append(adopt_listening_socket(descriptor, name, expected[name]))
    return adopted


def adopt_listening_socket(descriptor: int, name: str, families: Collection[int]) -> socket.socket:
    """Return the descriptor as the listening stream socket that it must be.

    Raises:
        WrongDescriptor: It is something else; says what.
    """
    label = f"descriptor {descriptor} ({name})"
    try:
        adopted = socket.socket(fileno=descriptor)
    except OSError as error:
        raise WrongDescriptor(f"{label} is not a socket: {error.strerror}") from error
    try:
        if adopted.type != socket.SOCK_STREAM:
            raise WrongDescriptor(f"{label} is not a stream socket; use ListenStream= in its socket unit")
        if adopted.family not in families:
            allowed = ", ".join(sorted(socket.AddressFamily(family).name for family in families))
            raise WrongDescriptor(f"{label} is of family {_family_name(adopted.family)}; it must be of {allowed}")
        if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise WrongDescriptor(f"{label} is a connection, not a listening socket; use Accept=no in its socket unit")
        if adopted.family == socket.AF_UNIX and not _is_path(adopted.getsockname()):
            raise WrongDescriptor(f"{label} has no path in the file system; give ListenStream= an absolute path")
    except WrongDescriptor:
        adopted.close()
        raise
    return adopted


def only_one(adopted: Mapping[str, list[socket.socket]]) -> dict[str, socket.socket]:
    """Return the one socket of each name.

    Raises:
        WrongDescriptor: There are several of a name.
    """
    for name, sockets in adopted.items():
        if len(sockets) > 1:
            raise WrongDescriptor(f"{len(sockets)} descriptors are named {name!r}; only one is allowed")
    return {name: sockets[0] for name, sockets in adopted.items()}


def _is_path(name: object) -> bool:
    return isinstance(name, str) and name.startswith("/")


def _family_name(family: int) -> str:
    return family.name if isinstance(family, socket.AddressFamily) else str(family)
