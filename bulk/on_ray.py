"""The same job on a Ray cluster: on each node that runs the service, an actor asks that node's broker.

Ray Data hands out the rows, starts an actor again that was lost, and runs again what it had not answered; rows come
back in their order, so that the output is written, and continued, as without Ray.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError

from ..client.sync import Reranker
from .ranker import JobAborted, Ranker, rank_in_order
from .row import Outcome, Ranked, Rejected, Row

#: What a node has one of that runs the service: so each of them has one actor, and no other node has any.
RESOURCE = "openvino_reranker"
#: Rows handed to an actor at once, and rows that are in the cluster at once for each actor.
_BATCH, _ROWS_AN_ACTOR = 64, 4096
#: How long a cluster may take to let us connect, s.
_REACH_S = 10.0


class _Actor:
    """Ranks batches through its node's broker."""

    def __init__(self, top_k: int | None, concurrency: int) -> None:
        self._ranker = Ranker(Reranker(), top_k)
        self._concurrency = concurrency

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [Row(int(number), bytes(line)) for number, line in zip(batch["number"], batch["line"], strict=True)]
        outcomes = list(rank_in_order(rows, self._ranker.rank, self._concurrency))
        return {
            "number": [outcome.number for outcome in outcomes],
            "line": [outcome.line for outcome in outcomes],
            "error": [outcome.error if isinstance(outcome, Rejected) else "" for outcome in outcomes],
            "model": [outcome.model if isinstance(outcome, Ranked) else "" for outcome in outcomes],
        }


@contextlib.contextmanager
def cluster(address: str) -> Iterator[int]:
    """Connect to a cluster; yield how many of its nodes run the service.

    Raises:
        JobAborted: There is no cluster, or none of its nodes does.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _check_reachable(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (RayError, OSError, ValueError) as error:
        raise JobAborted(f"no Ray cluster at {address}: {error}") from None
    try:
        nodes = int(ray.cluster_resources().get(RESOURCE, 0))
        if not nodes:
            raise JobAborted(
                f"no node of the Ray cluster at {address} says that it runs the service; start each that does with: "
                f"ray start --address … --resources '{{\"{RESOURCE}\": 1}}'"
            )
        yield nodes
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check that something listens at ``address``: Ray itself would try for many minutes.

    Raises:
        OSError: Nothing does.
        ValueError: It is neither a host with a port nor ``auto``.
    """
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or parts.port is None:
        raise ValueError("give HOST:PORT, or auto")
    socket.create_connection((parts.hostname, parts.port), _REACH_S).close()


def rank_on(nodes: int, rows: Iterable[Row], top_k: int | None, concurrency: int) -> Iterator[Outcome]:
    """Rank rows on the cluster that is connected and yield what became of them in their order.

    Raises:
        JobAborted: A row could not be done on any node; the message says why.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rest = iter(rows)
    while some := list(islice(rest, nodes * _ROWS_AN_ACTOR)):
        items = [{"number": row.number, "line": row.line} for row in some]
        # Blocks of one batch each: of a single block, one actor would do everything.
        blocks = ray.data.from_items(items).repartition(-(-len(items) // _BATCH))
        done = blocks.map_batches(
            _Actor,
            fn_constructor_args=(top_k, concurrency),
            batch_size=_BATCH,
            compute=ray.data.ActorPoolStrategy(size=min(nodes, -(-len(items) // _BATCH))),
            num_cpus=0,
            resources={RESOURCE: 1},
        )
        try:
            for item in done.iter_rows():
                number, line, error = int(item["number"]), bytes(item["line"]), item["error"]
                yield Rejected(number, error, line) if error else Ranked(number, line, item["model"])
        except RayError as error:
            raise JobAborted(f"Ray: {str(error).strip().splitlines()[-1]}") from None
