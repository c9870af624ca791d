"""What a refusal costs, and what it says."""

import gc
import tracemalloc

from openvino_reranker.protocol.limits import Limits
from openvino_reranker.tests.broker.harness import Harness


def test_a_refused_request_leaves_nothing_behind() -> None:
    harness = Harness()
    gc.collect()
    gc.disable()  # what is only found by the collector stays for minutes
    tracemalloc.start()
    try:
        for number in range(20):
            harness.ask(b"%d" % number, [b"x" * 500_000 + b"\xff"], query=b"query")
            harness.ask(b"%d blank" % number, [b"x" * 500_000], query=b" ")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert harness.refusal(b"7").code == harness.refusal(b"7 blank").code == "invalid_request"
    assert held < 2_000_000


def test_when_to_come_back_is_what_the_waiting_pairs_take() -> None:
    harness = Harness(Limits(queued_pairs=20))
    harness.ask(b"1", [b"%d" % number + b"y" * 60_000 for number in range(20)])  # a model reads 512 tokens of each
    harness.ask(b"2", [b"z"])
    # 20 x 512 tokens at the 5.12 a millisecond that are taken for granted before anything was measured.
    assert harness.refusal(b"2").retry_after_ms == 2000
