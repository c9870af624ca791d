"""smoke: what it demands of answers, and where it looks at the NPU's counter."""

from pathlib import Path

import pytest
from openvino_reranker.bench.target import Target
from openvino_reranker.cli import smoke
from openvino_reranker.cli.main import make_parser
from openvino_reranker.cli.smoke import FIXTURES, Fixture, check, check_counter, read_counter
from openvino_reranker.client.ranking import Hit, Ranking, Span
from openvino_reranker.protocol.client_messages import Timings
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


def ranking(
    fixture: Fixture, device: str = "CPU", busy: int | None = None, scores: tuple[float, ...] = (3.0, 2.0, 1.0, 0.0)
) -> Ranking:
    order = [fixture.best, *(each for each in range(len(fixture.passages)) if each != fixture.best)]
    hits = tuple(Hit(index, None, score, 0.5, False, 1, Span(0, 0)) for index, score in zip(order, scores, strict=True))
    return Ranking(hits, "m", device, "f32", busy, Timings(0.0, 1.0, 1.0), 9)


@pytest.mark.parametrize(("busy", "right"), [(5, True), (0, False), (None, False)])
def test_an_answer_of_the_npu_needs_a_rise(busy: int | None, right: bool) -> None:
    assert (check(FIXTURES[0], ranking(FIXTURES[0], "NPU", busy)) == []) is right
    assert check(FIXTURES[0], ranking(FIXTURES[0])) == []


def test_what_is_wrong_with_an_answer_is_named() -> None:
    first, second = FIXTURES[:2]
    assert "came first, not" in check(second, ranking(first))[0]
    assert "not finite" in check(first, ranking(first, scores=(float("inf"), 2.0, 1.0, 0.0)))[0]
    assert "not sorted" in check(first, ranking(first, scores=(3.0, 2.0, 1.0, 4.0)))[0]


def test_sysfs_must_have_risen_too(tree: SysfsTree, tmp_path: Path) -> None:
    before = read_counter(tree.root)
    assert before == 1000
    assert check_counter(before, read_counter(tree.root)) == [
        "answered by NPU, but the busy time in sysfs stayed at 1000 us"
    ]
    tree.set(1001)
    assert check_counter(before, read_counter(tree.root)) == []
    assert "no device under" in check_counter(before, read_counter(tmp_path / "none"))[0]


@pytest.mark.parametrize(("device", "rises", "status"), [("NPU", True, 0), ("NPU", False, 1), ("CPU", False, 0)])
def test_the_command_looks_at_sysfs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tree: SysfsTree,
    device: str,
    rises: bool,
    status: int,
) -> None:
    class Service:
        """A service on a device that does not exist here."""

        def rerank(self, query: str, _documents: object, timeout: float, *, use_cache: bool) -> Ranking:
            assert not use_cache
            if rises:
                tree.set(2000)
            fixture = next(each for each in FIXTURES if each.query == query)
            return ranking(fixture, device, 7 if device == "NPU" else None)

        def close(self) -> None:
            pass

    monkeypatch.setattr(Target, "status", lambda _: {"ready": True})
    monkeypatch.setattr(Target, "reranker", lambda _: Service())
    argv = ["smoke", "--url", "http://127.0.0.1:1"]
    assert smoke.run(make_parser(argv).parse_args(argv), tree.root) == status
    assert ("busy time in sysfs stayed" in capsys.readouterr().out) is (status == 1)


def test_sysfs_is_looked_at_only_where_the_service_is() -> None:
    assert Target(socket=Path("/run/requests.sock")).is_here
    assert Target(url="http://localhost:18818").is_here
    assert Target(url="http://127.0.0.2:18818").is_here
    assert not Target(url="http://10.0.0.7:18818").is_here
