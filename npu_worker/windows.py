"""Where the windows of a long passage lie. Tokens in, spans out; no tokenizer and no text is looked at.

A window is a part of the passage that is scored as if it were all of it, so it begins and ends between words where it
can: then its text alone has the same tokens as it has inside the passage.
"""

import itertools
from collections.abc import Sequence

#: Share of a window from the start of one to the next when nobody says otherwise: neighbours share the rest, so
#: that no sentence is cut in all of them.
DEFAULT_STRIDE = 0.75


def window_spans(word_starts: Sequence[bool], room: int, stride: int, max_windows: int) -> list[tuple[int, int]]:
    """Return the windows as half-open spans of tokens: overlapping or touching, from the first token on.

    They reach the last token unless ``max_windows`` do not suffice.

    Args:
        word_starts: For each token of the passage, whether a word begins with it.
        room: Tokens a window holds.
        stride: Tokens from the beginning of a window to that of the next; at most ``room``. 0: the default.
        max_windows: The most windows.
    """
    count = len(word_starts)
    stride = min(stride, room) if stride else max(1, round(room * DEFAULT_STRIDE))
    spans: list[tuple[int, int]] = []
    start = 0
    while len(spans) < max_windows:
        end = min(start + room, count)
        if end < count:
            # A word that fills half a window is cut anywhere; it is no word of any language.
            end = _word_start(word_starts, end, range(start + room // 2 + 1, end + 1))
        spans.append((start, end))
        if end == count:
            break
        start = _word_start(word_starts, min(start + stride, end), range(start + 1, end + 1))
    return spans


def _word_start(word_starts: Sequence[bool], token: int, among: range) -> int:
    """Return the token in ``among`` that begins a word: the last up to ``token``, else the first after it, else it."""
    for place in itertools.chain(range(token, among.start - 1, -1), range(token + 1, among.stop)):
        if word_starts[place]:
            return place
    return token


def byte_offsets(text: str, characters: Sequence[int]) -> list[int]:
    """Return the places of characters, ascending, as places in the UTF-8 bytes of ``text``."""
    if text.isascii():
        return list(characters)
    offsets: list[int] = []
    at = size = 0
    for character in characters:
        size += len(text[at:character].encode())
        at = character
        offsets.append(size)
    return offsets
