"""Who waits for which answer: what the next broker is sent again, and when that ends."""

from openvino_reranker.client import Unavailable
from openvino_reranker.client.pending import MOST_LOSSES, PendingTable
from openvino_reranker.protocol.status_messages import GetStatus


def test_what_was_sent_and_not_answered_is_sent_again() -> None:
    table = PendingTable()
    sent, unsent, forgotten = GetStatus(b"1"), GetStatus(b"2"), GetStatus(b"3")
    for request in (sent, unsent, forgotten):
        table.add(request)
    assert table.forget(b"3") is forgotten
    table.note_sent([b"hello", b"1", b"3"])
    assert table.to_resend() == [sent]
    assert table.to_resend() == []  # it waits to be sent: no broker can have taken it along
    table.note_sent([b"1", b"2"])
    assert table.to_resend() == [sent, unsent]
    assert table.forget(b"3") is None


def test_a_request_that_broker_after_broker_is_lost_with_is_answered() -> None:
    table = PendingTable()
    answer = table.add(GetStatus(b"1"))
    for _ in range(MOST_LOSSES - 1):
        table.note_sent([b"1"])
        assert table.to_resend() == [GetStatus(b"1")]
        assert not answer.done()
    table.note_sent([b"1"])
    assert table.to_resend() == []
    assert isinstance(error := answer.exception(), Unavailable)
    assert f"lost {MOST_LOSSES} times" in error.message
    assert len(table) == 0


def test_each_is_failed_with_an_error_of_its_own() -> None:
    table = PendingTable()
    answers = [table.add(GetStatus(b"1")), table.add(GetStatus(b"2"))]
    table.fail_all(Unavailable("gone", 5))
    first, second = (answer.exception() for answer in answers)
    assert first is not second
    for error in (first, second):
        assert isinstance(error, Unavailable)
        assert (error.message, error.retry_after_ms) == ("gone", 5)
    assert len(table) == 0
