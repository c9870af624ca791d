"""``status --watch`` in a terminal: one panel, redrawn in place every second. Needs the extra ``watch`` (rich)."""

from collections import deque
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..client.activity import Activity, RecentActivity
from ..http_front.status_report import resident_bytes
from ..protocol.errors import RerankError
from ..protocol.status_messages import Status
from .status import errors_in_words

#: Samples in the chart.
_CHART = 40
#: How many callers are named.
_CALLERS = 4
_BARS = " ▁▂▃▄▅▆▇█"


class StatusView:
    """The samples so far, and the panel that shows them."""

    def __init__(self) -> None:
        self._activity = RecentActivity()
        self._pairs: deque[float] = deque([0.0] * _CHART, maxlen=_CHART)

    def render(self, sample: Status | RerankError) -> RenderableType:
        """Return the panel after one more sample."""
        if isinstance(sample, RerankError):
            self._pairs.append(0.0)
            self._activity.forget()
            return self._panel(Text(sample.message), "unavailable", "red")
        activity = self._activity.note(sample)
        self._pairs.append(activity.pairs if activity else 0.0)
        title, style = ("ready", "green") if sample.ready else ("not ready", "yellow")
        return self._panel(self._table(sample, activity), title, style)

    def _table(self, status: Status, activity: Activity | None) -> Table:
        worker, queue, counters = status.worker, status.queue, status.counters
        model = f"{worker.model} on {worker.device} ({worker.precision})" if worker.model else "none"
        share = queue.pairs / max(1, status.limits.queued_pairs)
        pids = ", ".join(f"{name} {pid or '-'}" for name, pid in status.pids().items())
        rows = [
            *([] if status.ready else [("why", status.reason)]),
            ("model", f"{model}, {worker.state}"),
            ("now", _now(activity)),
            ("", _means(activity)),
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
            ("callers", _callers(status)),
            ("served", f"{counters['requests']:,} requests, {counters['pairs']:,} pairs"),
            ("errors", errors_in_words(status)),
            ("memory", _memory(status)),
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
            subtitle="Ctrl-C to quit",
            border_style=style,
            padding=(0, 1),
        )


def show(samples: Iterable[Status | RerankError], console: Console | None = None) -> None:
    """Redraw the panel for each sample."""
    view = StatusView()
    with Live(console=console, auto_refresh=False) as live:
        for sample in samples:
            live.update(view.render(sample), refresh=True)


def _now(activity: Activity | None) -> str:
    if activity is None:
        return "-"
    return f"{activity.pairs:,.1f} pairs/s, {activity.tokens:,.0f} tokens/s, device busy {activity.device:.0%}"


def _means(activity: Activity | None) -> str:
    """Return the figures that exist only for a period in which something was answered or computed."""
    if activity is None:
        return "-"
    means = [
        None if activity.queue_ms is None else f"{activity.queue_ms:,.0f} ms in the queue",
        None if activity.batch_callers is None else f"{activity.batch_callers:.1f} callers per batch",
        None if activity.padding is None else f"{activity.padding:.0%} padding",
    ]
    return ", ".join(filter(None, means)) or "-"


def _callers(status: Status) -> str:
    """Return the busiest callers' recent shares of the tokens."""
    return ", ".join(f"{caller.name} {caller.share:.0%}" for caller in status.callers[:_CALLERS]) or "-"


def _memory(status: Status) -> str:
    """Return the resident memory of the processes that can be seen from here."""
    sizes = {name: pid and resident_bytes(pid) for name, pid in status.pids().items()}
    return ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in sizes.items() if size) or "-"


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
