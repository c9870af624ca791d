"""What came of all requests and all faults, counted as it happens and printed as a table."""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from openvino_reranker.tests.soak.caller import OUTCOMES


@dataclass
class Episode:
    """What is going on: a kind of fault, an attack, or nothing (``calm``)."""

    rounds: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: How long right answers took, s.
    waits: list[float] = field(default_factory=list)
    #: How long after each fault the first right answers came, s.
    recoveries: list[float] = field(default_factory=list)


class Tally:
    """Counts outcomes by caller and by episode. A request belongs to the episode it ends in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.episodes: dict[str, Episode] = defaultdict(Episode)
        self.callers: dict[str, Counter[str]] = defaultdict(Counter)
        self._now = "calm"

    def enter(self, episode: str) -> None:
        with self._lock:
            self._now = episode
            self.episodes[episode].rounds += 1

    def note(self, caller: str, outcome: str, took: float) -> None:
        with self._lock:
            self.callers[caller][outcome] += 1
            episode = self.episodes[self._now]
            episode.outcomes[outcome] += 1
            if outcome == "right":
                episode.waits.append(took)

    def recovered(self, took: float) -> None:
        with self._lock:
            self.episodes[self._now].recoveries.append(took)

    def right(self) -> dict[str, int]:
        """Return how many right answers each caller has had."""
        with self._lock:
            return {caller: outcomes["right"] for caller, outcomes in self.callers.items()}

    @property
    def total(self) -> Counter[str]:
        with self._lock:
            return sum((outcomes for outcomes in self.callers.values()), Counter())

    def table(self) -> str:
        """Return everything as text."""
        with self._lock:
            head = f"{'during':34} rounds  back after p50 / worst  longest answer requests " + " ".join(
                f"{outcome:>7}" for outcome in OUTCOMES
            )
            lines = [head, "-" * len(head)]
            for name, episode in sorted(self.episodes.items()):
                lines.append(f"{name:34} {episode.rounds:6} {_times(episode)} {_counts(episode.outcomes)}")
            lines.append("")
            for name, outcomes in sorted(self.callers.items()):
                lines.append(f"{name:34} {'':47} {_counts(outcomes)}")
        lines.append(f"{'all':34} {'':47} {_counts(self.total)}")
        return "\n".join(lines)


def _times(episode: Episode) -> str:
    back = sorted(episode.recoveries)
    after = f"{back[len(back) // 2]:8.1f} s / {back[-1]:4.1f} s" if back else ""
    longest = f"{max(episode.waits):.2f} s" if episode.waits else ""
    return f"{after:>23} {longest:>15}"


def _counts(outcomes: Counter[str]) -> str:
    return f"{outcomes.total():8} " + " ".join(f"{outcomes[outcome]:7}" for outcome in OUTCOMES)
