"""The queue's parts, each by its law, over whatever hypothesis thinks of."""

from hypothesis import given, settings
from hypothesis import strategies as st
from openvino_reranker.broker.admission import Admission
from openvino_reranker.broker.batch_budget import BatchBudget
from openvino_reranker.broker.fair_queue import ADVANCE, QUANTUM, FairQueue
from openvino_reranker.broker.pair_queue import PairQueue
from openvino_reranker.broker.request import ONE_WINDOW, Request
from openvino_reranker.broker.throughput import ThroughputEstimator
from openvino_reranker.protocol.limits import Limits
from openvino_reranker.protocol.worker_messages import Bucket

lengths = st.lists(st.integers(4, 512), min_size=1, max_size=40)


def make_request(
    lengths: list[int], caller: str = "a", name: bytes = b"1", same: bool = False, stream: str = ""
) -> Request:
    documents = [b"same" if same else b"%d" % place for place in range(len(lengths))]
    return Request(b"peer", name, caller, False, name, documents, lengths, ONE_WINDOW, 0.0, 30.0, 1, stream)


@given(lengths, st.integers(1, 600))
def test_take_nearest_takes_the_nearest(lengths: list[int], wanted: int) -> None:
    request = make_request(lengths)
    taken = request.take_nearest(wanted)
    assert abs(lengths[taken] - wanted) == min(abs(length - wanted) for length in lengths)
    assert len(request.waiting) == len(lengths) - 1


@given(lengths)
def test_a_request_gives_every_pair_once_longest_first(lengths: list[int]) -> None:
    request = make_request(lengths)
    first = request.take_nearest(None)
    assert lengths[first] == max(lengths)
    taken = [first] + [request.take_nearest(100) for _ in lengths[1:]]
    assert sorted(taken) == list(range(len(lengths)))


@given(st.lists(lengths, min_size=1, max_size=6), st.integers(10, 4000), st.integers(0, 512))
def test_turns_give_every_pair_once_and_end_empty(requests: list[list[int]], wanted: int, more: int) -> None:
    turns = FairQueue()
    for number, each in enumerate(requests):
        turns.add(make_request(each, caller=str(number % 3), name=b"%d" % number))
    taken = []
    while turns:
        batch = list(turns.take(BatchBudget(wanted, wanted + more), None, float))
        assert batch
        spent = [request.lengths[index] for request, index in batch]
        assert len(batch) == 1 or (sum(spent) <= wanted + more and sum(spent[:-1]) + spent[-1] / 2 <= wanted)
        taken += [(request.id, index) for request, index in batch]
    assert sorted(taken) == sorted((b"%d" % n, i) for n, each in enumerate(requests) for i in range(len(each)))
    assert turns.callers == 0


@settings(deadline=None)  # it is long, and the clock is not its subject
@given(st.lists(st.lists(st.integers(4, 512), min_size=1, max_size=9), min_size=2, max_size=6), st.integers(100, 3000))
def test_callers_with_enough_to_do_get_the_same_share(sizes: list[list[int]], wanted: int) -> None:
    turns = FairQueue()
    for number, each in enumerate(sizes):
        turns.add(make_request(each * (40_000 // sum(each)), caller=str(number), name=b"%d" % number))
    got = dict.fromkeys(map(str, range(len(sizes))), 0)
    while sum(got.values()) < 30_000:
        for request, index in turns.take(BatchBudget(wanted, wanted), None, float):
            got[request.caller] += request.lengths[index]
        # The bound that turns.py states, whatever the batches and whoever fits them best.
        assert max(got.values()) - min(got.values()) <= QUANTUM + ADVANCE + 512


@given(st.integers(1, 6), st.integers(4, 512), st.integers(4, 512), st.integers(100, 3000))
def test_newcomers_without_end_do_not_starve_who_waits(pairs: int, length: int, newcomers: int, wanted: int) -> None:
    turns = FairQueue()
    for number in range(20):
        turns.add(make_request([newcomers], f"before {number}", b"before %d" % number))
    turns.add(make_request([length] * pairs, "waits", b"waits"))
    left = pairs
    for number in range(400):
        # With every batch there is one more caller that was never here before, and it fits better.
        turns.add(make_request([min(newcomers, wanted // 2)], f"{number}", b"%d" % number))
        left -= sum(request.id == b"waits" for request, _ in turns.take(BatchBudget(wanted, wanted), None, float))
        if not left:
            return
    raise AssertionError(f"{left} pairs still wait")


def test_a_batch_costs_about_what_is_wanted_and_never_more_than_the_worker_takes() -> None:
    rooms = (BatchBudget(240, 1000), BatchBudget(260, 1000), BatchBudget(260, 299), BatchBudget(50, 50))
    sizes = []
    for room in rooms:
        turns = FairQueue()
        turns.add(make_request([100] * 20))
        sizes.append(len(list(turns.take(room, None, float))))
    assert sizes == [2, 3, 2, 1]


def test_a_batch_is_filled_with_like_lengths_of_all_callers() -> None:
    turns = FairQueue()
    for number in range(3):
        turns.add(make_request([100 + number, 300 + number, 500 + number], str(number), b"%d" % number))
    batches = [
        sorted(request.lengths[index] for request, index in turns.take(BatchBudget(each, each), None, float))
        for each in (1503, 903, 303)
    ]
    assert batches == [[500, 501, 502], [300, 301, 302], [100, 101, 102]]


@given(st.integers(1, 40), st.integers(100, 1000))
def test_a_remainder_of_less_than_half_a_batch_goes_along(pairs: int, wanted: int) -> None:
    waiting = PairQueue()
    waiting.add(make_request([100] * pairs), range(pairs))
    batch = waiting.take(BatchBudget(wanted, 10_000), float)
    if pairs * 100 <= 1.5 * wanted:
        assert len(batch) == pairs
    else:
        assert len(batch) * 100 <= wanted + 50
        assert len(batch) < pairs


@given(st.lists(lengths, min_size=1, max_size=5), st.booleans(), st.sets(st.integers(0, 4)))
def test_waiting_forgets_nothing_and_keeps_nothing(requests: list[list[int]], same: bool, removed: set[int]) -> None:
    waiting = PairQueue()
    made = [
        make_request(each, str(number), b"q" if same else b"%d" % number, same) for number, each in enumerate(requests)
    ]
    for number, request in enumerate(made):
        request.id = b"%d" % number
        assert waiting.add(request, range(request.documents)) == 0
    for number in removed & set(range(len(made))):
        assert waiting.remove(made[number]) == len(requests[number])
    started = []
    while waiting:
        for entry in waiting.take(BatchBudget(300, 300), float):
            started += [(request.id, index) for request, index in entry]
    kept = [number for number in range(len(made)) if number not in removed]
    assert sorted(started) == sorted((b"%d" % n, i) for n in kept for i in range(len(requests[n])))
    assert not waiting._identical


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), st.integers(1, 9), st.integers(1, 900)),
        max_size=60,
    )
)
def test_admission_never_goes_over_a_bound_and_returns_to_zero(asked: list[tuple[str, str, int, int]]) -> None:
    limits = Limits(queued_pairs=30, caller_pairs=12, queued_bytes=4000, caller_bytes=2000)
    admission = Admission(limits)
    inside: list[tuple[str, str, int, int]] = []
    for place, (caller, stream, pairs, size) in enumerate(asked):
        if admission.refusal(caller, stream, pairs, size, 1000) is None:
            admission.enter(caller, stream, pairs, size)
            inside.append((caller, stream, pairs, size))
        assert admission.pairs <= limits.queued_pairs
        assert admission.bytes <= limits.queued_bytes
        if place % 3 == 2 and inside:
            admission.leave(*inside.pop(0))
    for each in inside:
        admission.leave(*each)
    assert (admission.pairs, admission.bytes) == (0, 0)
    for counter in (admission._caller_pairs, admission._caller_bytes, admission._stream_pairs, admission._stream_bytes):
        assert not counter


def test_one_stream_of_a_caller_cannot_keep_the_others_out() -> None:
    admission = Admission(Limits(caller_pairs=100))
    taken = 0
    while admission.refusal("a", "greedy", 1, 1, 1000) is None:
        admission.enter("a", "greedy", 1, 1)
        taken += 1
    assert taken == 50
    assert admission.refusal("a", "other", 20, 1, 1000) is None
    assert admission.refusal("b", "", 100, 1, 1000) is None  # a caller without streams has all of its bound


def test_a_row_costs_its_bucket_and_a_batch_aims_at_its_time() -> None:
    pace = ThroughputEstimator(512, 8192, [Bucket(128, 128), Bucket(64, 80), Bucket(512, 600)], 100)
    assert [pace.cost(tokens) for tokens in (4, 64, 65, 128, 129, 512)] == [80, 80, 128, 128, 600, 600]
    assert ThroughputEstimator(512, 8192, [], 100).cost(77) == 77
    for _ in range(50):
        pace.observe(size=4000, tokens=1000, padded_tokens=3000, inference_ms=100)
    assert abs(pace.budget().target - 3000) < 1
    for _ in range(50):
        pace.observe(size=4000, tokens=1000, padded_tokens=1, inference_ms=100)
    assert pace.budget().target == 512


def test_a_batch_is_deeper_where_much_waits() -> None:
    pace = ThroughputEstimator(512, 16384, [], 100)
    assert pace.budget(100_000).target == 512  # nothing is known yet
    for _ in range(50):
        pace.observe(size=4000, tokens=1000, padded_tokens=1000, inference_ms=100)
    assert [round(pace.budget(tokens).target) for tokens in (0, 6_000, 12_000, 18_000, 100_000)] == [
        1000,
        1000,
        2000,
        3000,
        3000,
    ]
    assert ThroughputEstimator(512, 16384, [], 100).budget(0).most == 16384


def test_a_pairs_length_is_estimated_from_what_was_seen() -> None:
    pace = ThroughputEstimator(512, 8192, [], 100)
    for _ in range(60):
        pace.observe(size=8000, tokens=1000, padded_tokens=1000, inference_ms=100)
    assert abs(pace.length(800) - 103) <= 1
    assert pace.length(1 << 20) == 512
    assert pace.wait_ms(0) == 1000
    assert pace.wait_ms(1_600_000) > 15_000


def take_all(turns: FairQueue) -> list[bytes]:
    """Return whose pairs are started, in order, one pair a batch."""
    started: list[bytes] = []
    while turns:
        started += [request.id for request, _ in turns.take(BatchBudget(1, 1), None, float)]
    return started


def test_streams_of_a_caller_take_turns_by_what_they_ask_for() -> None:
    turns = FairQueue()
    for number in range(3):
        turns.add(make_request([100] * 2, name=b"many %d" % number, stream="many"))
    turns.add(make_request([100], name=b"few 0", stream="few"))
    turns.add(make_request([100], name=b"few 1", stream="few"))
    assert [name.decode() for name in dict.fromkeys(take_all(turns))] == [
        "many 0",
        "few 0",
        "few 1",
        "many 1",
        "many 2",
    ]


def test_a_stream_that_asks_again_and_again_waits_for_the_other() -> None:
    turns = FairQueue()
    turns.add(make_request([100] * 10, name=b"large", stream="other"))
    turns.add(make_request([100], name=b"first", stream="other"))
    served = []
    for number in range(40):
        turns.add(make_request([100], name=b"%d" % number, stream="again"))
        served += [request.id for request, _ in turns.take(BatchBudget(1, 1), None, float)]
    assert served.index(b"first") <= 22
    assert len(turns._callers["a"].stream_ends) <= 18


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 3)), min_size=1, max_size=40))
def test_one_stream_goes_first_come_first_served(events: list[tuple[str, int]]) -> None:
    turns = FairQueue()
    for number, (stream, removed) in enumerate(events):
        turns.add(make_request([50], name=b"%d" % number, stream=stream))
        if removed == 0:
            list(turns.take(BatchBudget(1, 1), None, float))
    order = [int(name) for name in take_all(turns)]
    for stream in "xyz":
        mine = [number for number in order if events[number][0] == stream]
        assert mine == sorted(mine)


@settings(deadline=None)
@given(st.integers(20, 40), st.integers(60, 200), st.integers(0, 2))
def test_a_caller_that_asks_again_after_each_answer_gets_its_share(pairs: int, length: int, missed: int) -> None:
    turns = FairQueue()
    turns.add(make_request([length] * (200_000 // length), "flood", b"flood"))
    got: dict[str, int] = dict.fromkeys(("flood", "asks"), 0)
    away = 0
    for number in range(300):
        if "asks" not in turns._callers:
            away += 1
            if away > missed:
                turns.add(make_request([length] * pairs, "asks", b"%d" % number))
                away = 0
        for request, index in turns.take(BatchBudget(512, 512), None, float):
            got[request.caller] += request.lengths[index]
    assert 0.4 <= got["asks"] / sum(got.values()) <= 0.6


def test_a_result_without_time_or_texts_teaches_nothing() -> None:
    throughput = ThroughputEstimator(512, 8192, (), 100.0)
    throughput.observe(size=0, tokens=0, padded_tokens=0, inference_ms=0.0)
    assert throughput.tokens_per_ms is None


def test_callers_and_streams_that_have_left_are_forgotten_in_time() -> None:
    queue = FairQueue()
    keeper = make_request([4] * 40, caller="keeper", stream="long")
    queue.add(keeper)
    for number in range(2000):
        passing = make_request([4], caller="keeper", name=b"s%d" % number, stream=f"stream {number}")
        queue.add(passing)
        queue.discard(passing)
        other = make_request([4], caller=f"caller {number}", name=b"c")
        queue.add(other)
        queue.discard(other)
    assert queue.callers == 1
    assert len(queue._away) <= 1024
    assert len(queue._callers["keeper"].stream_ends) <= 20


def test_to_take_out_what_is_not_there_is_nothing() -> None:
    queue = FairQueue()
    queue.add(make_request([4]))
    queue.discard(make_request([4], name=b"2"))
    queue.discard(make_request([4], caller="b"))
    assert list(queue.lengths()) == [4]


def test_ends_of_streams_that_still_count_are_kept_when_others_are_forgotten() -> None:
    queue = FairQueue()
    first, second = (make_request([40] * 4, name=name, stream="long") for name in (b"1", b"2"))
    queue.add(first)
    queue.add(second)

    def pass_by(numbers: range) -> None:
        for number in numbers:
            passing = make_request([4], name=b"s%d" % number, stream=f"stream {number}")
            queue.add(passing)
            queue.discard(passing)

    pass_by(range(15))
    queue.discard(first)  # the caller's time goes on beyond the ends of those
    pass_by(range(15, 25))
    assert set(queue._callers["a"].stream_ends) >= {"long", "stream 24"}
    assert "stream 3" not in queue._callers["a"].stream_ends
