"""Becomes a program under the part of a unit's sandbox that needs no privilege. Run as a program.

Arguments: systemd-analyze, the unit's file, and the command. Taken from the unit: ``SystemCallFilter=``,
``RestrictAddressFamilies=``, ``MemoryDenyWriteExecute=`` and ``NoNewPrivileges=``.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_CMP_NE = 0x7FFF0000, 0x00050000, 1


class Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def read_values(unit: Path, key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(f"{key}=")]


def expand(analyze: str, names: list[str]) -> set[str]:
    """The system calls of names, where ``@name`` is a set of systemd's."""
    told = subprocess.run([analyze, "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    sets: dict[str, list[str]] = {}
    current = ""
    for line in told.splitlines():
        if line.startswith("@"):
            current = line.strip()
            sets[current] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            sets[current].append(line.strip())
    calls: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name.startswith("@"):
            left += sets[name]
        else:
            calls.add(name)
    return calls


def allowed(analyze: str, unit: Path) -> set[str]:
    allow: set[str] = {"execve", "rt_sigreturn"}
    for value in read_values(unit, "SystemCallFilter"):
        if value.startswith("~"):
            allow -= expand(analyze, value[1:].split())
        else:
            allow |= expand(analyze, value.split())
    return allow


def restrict(calls: set[str], *, unix_only: bool) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(SCMP_ACT_ERRNO | errno.EPERM))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number < 0 or (call == "socket" and unix_only):
            continue
        assert library.seccomp_rule_add(context, ctypes.c_uint(SCMP_ACT_ALLOW), number, 0) == 0
    if unix_only:
        number = library.seccomp_syscall_resolve_name(b"socket")
        for action, comparison in (
            (SCMP_ACT_ALLOW, Comparison(0, 4, socket.AF_UNIX, 0)),
            (SCMP_ACT_ERRNO | errno.EAFNOSUPPORT, Comparison(0, SCMP_CMP_NE, socket.AF_UNIX, 0)),
        ):
            assert library.seccomp_rule_add(context, ctypes.c_uint(action), number, 1, comparison) == 0
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    analyze, unit, command = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    calls = allowed(analyze, unit)
    unix_only = read_values(unit, "RestrictAddressFamilies") == ["AF_UNIX"]
    libc = ctypes.CDLL(None)
    assert read_values(unit, "NoNewPrivileges") == ["yes"]
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if read_values(unit, "MemoryDenyWriteExecute") == ["yes"]:
        libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # since Linux 6.3
    restrict(calls, unix_only=unix_only)
    os.execv(command[0], command)
