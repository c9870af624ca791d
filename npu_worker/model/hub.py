"""Models from the hub: the few files needed, at one commit, checked against what the hub states.

``huggingface_hub`` talks to the hub, so HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and proxies mean what they always do.
Its own time limits are per read and per address and are retried, which adds up to minutes on a network that drops
packets; so each step runs in a thread that is waited for within a limit.
"""

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .card import sha256
from .draft import Draft
from .errors import CacheUnwritable, HubError, HubGated, HubNotFound, HubUnreachable
from .local import draft_of as draft_of_local
from .sources import HubSource, local_source
from .store import Say

T = TypeVar("T")

#: Until the hub has said what the repository holds, s. With the start of the program this stays below ten.
ANSWER_S = 7.0
#: A download that receives nothing for this long has failed, s.
STALL_S = 30.0

_WEIGHTS = "model.safetensors"
_NEEDED = ("config.json", "tokenizer.json", _WEIGHTS)
_WELCOME = ("tokenizer_config.json",)


def draft_of(source: HubSource, download: Path, say: Say) -> Draft:
    """Download a model into a folder and return its draft.

    Raises:
        HubUnreachable: The hub did not answer within ``ANSWER_S``, or stopped sending.
        HubNotFound: No such repository or revision.
        HubGated: Its terms have not been accepted with the token at hand.
        HubError: A needed file is missing, or does not match the hub's checksum.
        UnsupportedModel: It is not a BERT cross-encoder.
        CacheUnwritable: It cannot be written to the folder.
    """
    info = _ask(source)
    files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    if missing := [name for name in _NEEDED if name not in files]:
        advice = (
            "its weights exist only as pytorch_model.bin, which is not read because such a file can run code; "
            "ask its authors for safetensors"
            if missing == [_WEIGHTS] and "pytorch_model.bin" in files
            else "choose a model that has them"
        )
        raise HubError(f"{source} has no {', no '.join(missing)} on the hub: {advice}")
    # A folder of ours and not the hub's shared cache: the weights are converted once and never read again, and a
    # pull that was given up takes everything with it.
    needed = [files[name] for name in (*_NEEDED, *_WELCOME) if name in files]
    size = sum(sibling.size or 0 for sibling in needed)
    say(f"downloading {source} ({size / 1e6:.0f} MB) from {constants.ENDPOINT}")
    # One after the other, the small ones first: the weights are nearly all of it.
    for sibling in sorted(needed, key=lambda sibling: sibling.size or 0):
        _download(source, info.sha, sibling.rfilename, download)
        _check(source, sibling, download / sibling.rfilename)
    draft = draft_of_local(local_source(download / _WEIGHTS))
    return replace(draft, name=source.name, source=str(source), revision=info.sha, licence=_licence(info))


def _ask(source: HubSource) -> Any:
    """Return the hub's description of the repository."""
    return _translated(
        source,
        lambda: _within(
            ANSWER_S,
            lambda: HfApi().model_info(
                source.repository, revision=source.revision, files_metadata=True, timeout=ANSWER_S
            ),
            stalled=lambda waited: waited >= ANSWER_S,
        ),
    )


def _download(source: HubSource, commit: str, name: str, folder: Path) -> None:
    seen, since = -1, 0.0

    def stalled(waited: float) -> bool:
        nonlocal seen, since
        if (now := _bytes_in(folder)) != seen:
            seen, since = now, waited
        return waited - since >= STALL_S

    _translated(
        source,
        lambda: _within(
            STALL_S,
            lambda: hf_hub_download(source.repository, name, revision=commit, local_dir=folder),
            stalled=stalled,
        ),
    )


def _within(seconds: float, work: Callable[[], T], stalled: Callable[[float], bool]) -> T:
    """Return what ``work`` returns, done in a thread; give up on it as soon as it is ``stalled``.

    A thread that is given up runs on until its socket fails, and does not keep the process alive.

    Raises:
        HubUnreachable: It was given up.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # raised again below, in the thread that waits
            failure.append(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    started = time.monotonic()
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if thread.is_alive() and stalled(time.monotonic() - started):
            raise HubUnreachable(f"the model hub at {constants.ENDPOINT} does not answer (waited {seconds:.0f} s)")
    if failure:
        raise failure[0]
    return outcome[0]


def _translated(source: HubSource, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; turn the library's errors into ours.

    The order matters: gated is a kind of not found, and nearly all of them are OSErrors.
    """
    try:
        return work()
    except HubUnreachable:
        raise
    except OfflineModeIsEnabled:
        raise HubUnreachable("the model hub is not contacted: HF_HUB_OFFLINE is set") from None
    except GatedRepoError as error:
        raise HubGated(
            f"{source} is gated: accept its terms on its page at {constants.ENDPOINT}/{source.repository}, then set "
            "HF_TOKEN to a token of that account"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubNotFound(
            f"the hub has no model {source.repository} (or a private one: set HF_TOKEN); check the spelling"
        ) from error
    except RevisionNotFoundError as error:
        raise HubNotFound(f"{source.repository} has no revision {source.revision!r}; check the spelling") from error
    except EntryNotFoundError as error:
        raise HubError(f"a file of {source} disappeared from the hub meanwhile; pull again") from error
    except HFValidationError as error:
        raise HubNotFound(f"{source} is not a hub id: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500:
            raise HubUnreachable(f"the model hub at {constants.ENDPOINT} has failed (HTTP {status})") from error
        raise HubError(f"the hub refuses {source} (HTTP {status}); wait a little, or set HF_TOKEN") from error
    except Exception as error:
        if _is_of_the_disk(error):
            raise CacheUnwritable(f"cannot store the download: {error}; free some space in the cache") from error
        # What is left is the transport's: no name, no route, refused, reset, a bad certificate, no JSON.
        raise HubUnreachable(
            f"the model hub at {constants.ENDPOINT} cannot be reached ({type(error).__name__}: {error})"
        ) from error


def _is_of_the_disk(error: Exception) -> bool:
    # A path is named by errors of files only; ``requests``-like errors are OSErrors too, without one.
    return isinstance(error, OSError) and (error.filename is not None or error.errno in {errno.ENOSPC, errno.EDQUOT})


def _check(source: HubSource, sibling: Any, file: Path) -> None:
    """Compare a large file with the sha256 the hub gives for it: the library compares sizes only.

    Raises:
        HubError: It is another one.
    """
    if sibling.lfs is not None and sha256(file) != sibling.lfs.sha256:
        raise HubError(f"{file.name} of {source} arrived damaged; pull again")


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # renamed meanwhile
    return total


def _licence(info: Any) -> str | None:
    card = info.card_data
    licence = card.get("license") if card else None
    return licence if isinstance(licence, str) else None
