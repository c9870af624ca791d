"""``status --watch`` in a terminal: one panel, redrawn in place every second. Needs the extra ``watch`` (rich)."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..protocol.errors import RerankError
from ..protocol.messages import Status
from .status import errors_in_words

#: Samples in the chart.
_CHART = 40
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Rates:
    """What the service did per second between two samples."""

    pairs: float = 0.0
    tokens: float = 0.0
    #: Share of the time in which the device worked, in percent; over 100 where batches overlap.
    device: float = 0.0


def rates_between(before: Status | None, now: Status) -> Rates:
    """Return the rates; zero for the first sample of a broker, whose counters start at zero."""
    if before is None or before.epoch != now.epoch or now.uptime_s <= before.uptime_s:
        return Rates()
    seconds = now.uptime_s - before.uptime_s
    rise = {key: now.counters[key] - before.counters[key] for key in ("batch_pairs", "tokens", "inference_ms")}
    return Rates(rise["batch_pairs"] / seconds, rise["tokens"] / seconds, rise["inference_ms"] / seconds / 10)


class StatusView:
    """The samples so far, and the panel that shows them."""

    def __init__(self) -> None:
        self._before: Status | None = None
        self._pairs: deque[float] = deque([0.0] * _CHART, maxlen=_CHART)

    def render(self, sample: Status | RerankError) -> RenderableType:
        """Return the panel after one more sample."""
        if isinstance(sample, RerankError):
            self._pairs.append(0.0)
            return self._panel(Text(sample.message), "unavailable", "red")
        rates = rates_between(self._before, sample)
        self._before = sample
        self._pairs.append(rates.pairs)
        title, style = ("ready", "green") if sample.ready else ("not ready", "yellow")
        return self._panel(self._table(sample, rates), title, style)

    def _table(self, status: Status, rates: Rates) -> Table:
        worker, queue, counters = status.worker, status.queue, status.counters
        model = f"{worker.model} on {worker.device} ({worker.precision})" if worker.model else "none"
        share = queue.pairs / max(1, status.limits.queued_pairs)
        pids = ", ".join(f"{name} {pid or '-'}" for name, pid in status.pids().items())
        rows = [
            *([] if status.ready else [("why", status.reason)]),
            ("model", f"{model}, {worker.state}"),
            ("now", f"{rates.pairs:,.1f} pairs/s, {rates.tokens:,.0f} tokens/s, device {rates.device:.0f} %"),
            ("", _chart(self._pairs)),
            (
                "queue",
                f"{queue.requests} requests; {queue.pairs} pairs of {queue.callers} callers are waiting "
                f"({share:.1%} of the bound)",
            ),
            (
                "batches",
                f"{counters['pairs_per_batch']:.1f} pairs of {counters['callers_per_batch']:.1f} callers on average",
            ),
            ("served", f"{counters['requests']:,} requests, {counters['pairs']:,} pairs"),
            ("errors", errors_in_words(status)),
            ("pids", f"{pids}; up {_duration(status.uptime_s)}"),
        ]
        table = Table.grid(padding=(0, 2))
        for name, value in rows:
            table.add_row(Text(name, style="bold"), Text(value, style="" if name else "cyan"))
        return table

    def _panel(self, content: RenderableType, title: str, style: str) -> Panel:
        return Panel(
            content,
            title=f"openvino-reranker: [{style}]{title}[/]",
            subtitle="Ctrl-C leaves",
            border_style=style,
            padding=(0, 1),
        )


def show(samples: Iterable[Status | RerankError], console: Console | None = None) -> None:
    """Redraw the panel for each sample."""
    view = StatusView()
    with Live(console=console, auto_refresh=False) as live:
        for sample in samples:
            live.update(view.render(sample), refresh=True)


def _chart(values: Iterable[float]) -> str:
    values = list(values)
    top = max(values) or 1.0
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in values)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
