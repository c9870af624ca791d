"""Optional API keys, for a service that others can reach."""

import hashlib
import hmac
import stat
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers


class BadKeyFile(Exception):
    """The file of keys cannot be used; the message says why."""


class ApiKeys:
    """The keys that are valid; compared in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, headers: Headers) -> bool:
        """Return whether a request carries a key: ``Authorization`` with or without ``Bearer``, or an own header."""
        return any(self._is_valid(key) for key in _keys_in(headers))

    def _is_valid(self, key: str) -> bool:
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, each) for each in self._digests) > 0  # all of them, each time


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _keys_in(headers: Headers) -> list[str]:
    authorization = headers.get("authorization", "")
    scheme, _, credentials = authorization.partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else authorization
    return [bearer, headers.get("x-api-key", ""), headers.get("api-key", "")]


def read_keys(file: Path | None, text: str | None) -> ApiKeys:
    """Return the keys of a file (one a line; ``#`` begins a comment line) and of a variable.

    Raises:
        BadKeyFile: It cannot be read, others may read it, or it holds no key.
    """
    keys = [text.strip()] if text and text.strip() else []
    if file is not None:
        try:
            mode = file.stat().st_mode
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadKeyFile(f"cannot read the API keys in {file}: {error}") from None
        if mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
            raise BadKeyFile(f"others may read or write {file} (mode {stat.S_IMODE(mode):04o}); chmod 600 it")
        stripped = (line.strip() for line in lines)
        in_file = [line for line in stripped if line and not line.startswith("#")]
        if not in_file:
            raise BadKeyFile(f"{file} contains no API key; write one per line")
        keys += in_file
    return ApiKeys(keys)
