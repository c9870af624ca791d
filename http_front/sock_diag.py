"""sock_diag(7): who owns a TCP connection of this machine, in one query of about 15 us."""

import socket
import struct
from itertools import count

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ANY_STATE = _NO_COOKIE = 0xFFFFFFFF
#: ``struct nlmsghdr``: length, type, flags, sequence, pid.
_HEADER = struct.Struct("=IHHII")
#: ``struct inet_diag_req_v2``: family, protocol, extensions, states; ports; two addresses; interface, cookie.
_WHAT = struct.Struct("=BBBxI")
_PORTS = struct.Struct("!HH")
_TAIL = struct.Struct("=III")
#: ``idiag_uid`` and ``idiag_inode`` in ``struct inet_diag_msg``, behind the header, four bytes, the id and 12 bytes.
_OWNER = struct.Struct("=II")
_OWNER_AT = _HEADER.size + 4 + 48 + 12


class SockDiag:
    """A socket to the kernel's table of connections, of this network namespace. One thread's own.

    Raises:
        OSError: This process may not open one (a sandbox without ``AF_NETLINK``).
    """

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
        self._kernel.settimeout(1.0)
        self._numbers = count(1)

    def owner(self, family: int, local: tuple[str, int], remote: tuple[str, int]) -> tuple[int, int] | None:
        """Return uid and inode of the TCP socket at ``local`` that is connected to ``remote``; None if there is none.

        Args:
            family: ``AF_INET`` or ``AF_INET6``, of both addresses.
            local: Address and port of the socket that is asked for.
            remote: Address and port of its peer.
        """
        number = next(self._numbers) & 0xFFFFFFFF
        try:
            addresses = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (local, remote))
            request = (
                _WHAT.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE)
                + _PORTS.pack(local[1], remote[1])
                + addresses
                + _TAIL.pack(0, _NO_COOKIE, _NO_COOKIE)
            )
            header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, number, 0)
            self._kernel.send(header + request)
            answer = self._kernel.recv(4096)
            while _HEADER.unpack_from(answer)[3] != number:  # of a query that was given up
                answer = self._kernel.recv(4096)
        except OSError:  # the kernel has no answer, or an address names an interface
            return None
        if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
            return None  # NLMSG_ERROR: there is no such socket
        uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
        return uid, inode

    def close(self) -> None:
        """Close the socket."""
        self._kernel.close()
