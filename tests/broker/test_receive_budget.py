"""Room for large messages: who has it, who waits, who must make place."""

import random

from openvino_reranker.broker.receive_budget import UPLOAD_TIMEOUT_S, ReceiveBudget

TOTAL, SHARE = 400, 100


def budget() -> ReceiveBudget[str]:
    return ReceiveBudget(TOTAL, SHARE)


def test_a_process_has_one_share_however_many_connections_it_opens() -> None:
    room = budget()
    assert room.ask("a1", "a", 100, 0)
    assert not room.ask("a2", "a", 100, 0)
    assert not room.ask("a3", "a", 1, 0)
    assert room.ask("b1", "b", 60, 0)
    assert room.ask("b2", "b", 40, 0)
    room.leave("a1")
    assert room.admit(0) == ["a2"]
    room.leave("a2")
    assert room.admit(0) == ["a3"]


def test_who_waits_for_all_is_not_passed_by() -> None:
    room = budget()
    for number in range(4):
        assert room.ask(f"{number}", f"p{number}", 90, 0)
    assert not room.ask("large", "q", 90, 0)
    assert not room.ask("small", "r", 10, 0), "it would fit, but the other came first"
    room.leave("0")
    assert room.admit(0) == ["large", "small"]


def test_a_message_over_everything_has_room_alone() -> None:
    room = budget()
    assert room.ask("a", "a", 1000, 0)
    assert not room.ask("b", "b", 1, 0)
    room.leave("a")
    assert room.admit(0) == ["b"]


def test_who_is_slow_makes_place_only_where_others_wait() -> None:
    room = budget()
    room.ask("slow", "a", 100, 0)
    assert room.overdue(1000) == []
    assert room.next_wakeup() is None
    room.ask("waits", "a", 100, 1000)
    assert room.next_wakeup() == UPLOAD_TIMEOUT_S
    assert room.overdue(UPLOAD_TIMEOUT_S - 0.01) == []
    assert room.overdue(1000) == ["slow"]
    room.leave("slow")
    assert room.admit(1000) == ["waits"]
    assert room.next_wakeup() is None


def test_time_begins_when_there_is_room() -> None:
    room = budget()
    room.ask("a1", "a", 100, 0)
    room.ask("a2", "a", 100, 0)
    room.ask("a3", "a", 100, 0)
    room.leave("a1")
    room.admit(50)
    assert room.overdue(50 + UPLOAD_TIMEOUT_S - 0.01) == []
    assert room.overdue(50 + UPLOAD_TIMEOUT_S) == ["a2"]


def test_who_leaves_while_waiting_is_forgotten() -> None:
    room = budget()
    room.ask("a1", "a", 100, 0)
    room.ask("a2", "a", 100, 0)
    room.leave("a2")
    room.leave("never asked")
    room.leave("a1")
    assert room.admit(0) == []
    assert room.next_wakeup() is None


def test_bounds_hold_and_nobody_waits_for_ever_whatever_happens() -> None:
    for seed in range(200):
        chance, room = random.Random(seed), budget()
        processes: dict[str, str] = {}
        sizes: dict[str, int] = {}
        admitted: set[str] = set()
        for step in range(200):
            if chance.random() < 0.6:
                key = f"k{step}"
                processes[key], sizes[key] = f"p{chance.randint(0, 6)}", chance.randint(1, SHARE)
                if room.ask(key, processes[key], sizes[key], step):
                    admitted.add(key)
            elif sizes:
                key = chance.choice(list(sizes))
                room.leave(key)
                del sizes[key]
                admitted.discard(key)
                admitted.update(room.admit(step))
            assert sum(sizes[key] for key in admitted) <= TOTAL
            for process in set(processes.values()):
                assert sum(sizes[key] for key in admitted if processes[key] == process) <= SHARE
        while sizes:
            assert admitted
            key = min(admitted)
            room.leave(key)
            del sizes[key]
            admitted.discard(key)
            admitted.update(room.admit(0))
