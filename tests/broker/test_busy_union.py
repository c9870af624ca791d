"""Busy time is counted once, however many batches saw it."""

from hypothesis import given
from hypothesis import strategies as st
from openvino_reranker.broker.busy_union import BusyUnion
from openvino_reranker.protocol.worker_messages import BatchResult
from openvino_reranker.tests.broker.harness import Harness


def test_batches_prefetched_together_do_not_count_each_others_time() -> None:
    harness = Harness()
    harness.hello()
    harness.ask(b"1", [b"%d" % number * 2000 for number in range(4)])
    batches = []
    while (batch := harness.pull()) is not None:
        batches.append(batch)
    assert len(batches) == 4
    for number, batch in enumerate(batches, 1):  # each began with the first, and ended 100 ms after the one before
        count = len(batch.pairs)
        result = BatchResult(
            batch.batch, [1.0] * count, [9] * count, [], [], 9, 1, 1.0, number * 100_000, number * 100_000
        )
        harness.take(harness.broker.worker_message(b"worker", result, harness.now))
    (answer,) = harness.answers(b"1")
    assert answer.served.npu_busy_delta_us == 400_000  # type: ignore[union-attr]
    assert harness.broker.counters.report()["npu_busy_us"] == 400_000


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 100)), max_size=20))
def test_the_sum_is_the_union_of_the_spans(steps: list[tuple[int, int]]) -> None:
    busy, start, end, seen = BusyUnion(), 0, 0, set[int]()
    for step, length in steps:  # batches begin and end in order
        start += step
        end = max(end, start + length)
        busy.add(end - start, end)
        seen |= set(range(start, end))
    assert busy.total_us == len(seen)


def test_another_worker_counts_anew() -> None:
    busy = BusyUnion()
    busy.add(500, 9000)
    busy.add(300, 300)
    busy.add(200, 500)
    assert busy.total_us == 1000
