"""Who waits for which answer: what a second broker is asked again, and what not."""

from openvino_reranker.client import Unavailable
from openvino_reranker.client.pending import PendingTable
from openvino_reranker.protocol.messages import GetStatus


def test_only_what_was_sent_is_asked_again_and_only_once() -> None:
    table = PendingTable()
    sent, unsent, forgotten = GetStatus(b"1"), GetStatus(b"2"), GetStatus(b"3")
    for request in (sent, unsent, forgotten):
        table.add(request)
    assert table.forget(b"3") is forgotten
    table.note_sent([b"hello", b"1", b"3"])
    assert table.to_resend() == [sent]
    assert table.to_resend() == []
    table.note_sent([b"2"])
    assert table.to_resend() == [unsent]  # it had not used up its turn while it waited to be sent
    assert table.forget(b"3") is None


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
