"""The NPU tried out on stand-in A: the trial, the sweep, and the report of both."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openvino as ov
import pytest
from openvino_reranker.cli import doctor
from openvino_reranker.cli.doctor import setting_lines
from openvino_reranker.cli.settings import Settings
from openvino_reranker.npu_worker.doctor import sweep as sweep_module
from openvino_reranker.npu_worker.doctor.findings import problem
from openvino_reranker.npu_worker.doctor.flops import count_flop
from openvino_reranker.npu_worker.doctor.report import as_markdown, private_texts
from openvino_reranker.npu_worker.doctor.sweep import Try, best, describe, sweep, variants
from openvino_reranker.npu_worker.doctor.timing import FrequencySampler
from openvino_reranker.npu_worker.doctor.trial import try_npu
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.host_embeddings import make_static
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.tests.npu_worker.conftest import BENT, ROOT, until
from openvino_reranker.tests.npu_worker.npu.stand_in import StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".links"))


def test_the_frequency_is_that_of_the_run_not_of_the_sleep_after_it(tree: SysfsTree) -> None:
    file = tree.device / "npu_current_frequency_mhz"
    with FrequencySampler(tree.root) as frequency:
        for megahertz in ("0", "1400", "950", "0"):
            file.write_text(megahertz)
            seen = frequency.samples
            until(lambda: frequency.samples > seen + 1, "sampled")  # noqa: B023
    assert frequency.highest == 1400
    tree.device.joinpath("npu_current_frequency_mhz").unlink()
    with FrequencySampler(tree.root) as unknown:
        pass
    assert unknown.highest is None


def test_a_trial_of_every_row_length(tree: SysfsTree, tiny: ReadyModel, tmp_path: Path) -> None:
    tree.tick()
    (tree.device / "npu_current_frequency_mhz").write_text("950\n")
    said: list[str] = []
    settings = NpuSettings(tmp_path, (32, 64), requests=2)
    trial = try_npu(tiny.folder, settings, StandIn(tree.root, tree.dev), said.append, timed_s=0.2)
    assert trial["status"] == 0
    assert [bucket["tokens"] for bucket in trial["buckets"]] == [64, 32]
    for bucket in trial["buckets"]:
        assert bucket["error"] == ""
        assert len(bucket["logits"]) == len(bucket["expected"]) == 4
        assert bucket["worst"] < 0.1
        assert bucket["resident_mb"] > 50
        timing = bucket["timing"]
        assert timing["pairs_per_second"] > 0
        assert timing["alone_ms"] > 0
        assert timing["gops_share"] is None  # the stand-in has no figure of its own
        assert timing["mhz"] == 950
        assert 0.3 < timing["busy_share"] <= 1
    assert len([line for line in said if "pairs/s" in line]) == 2
    assert trial["model"]["name"] == "a model of one's own"


def test_a_trial_goes_on_after_a_row_length_that_fails(tree: SysfsTree, tiny: ReadyModel, tmp_path: Path) -> None:
    tree.tick()
    machine = StandIn(tree.root, tree.dev, compiler=[sys.executable, str(BENT), "off-64"])
    trial = try_npu(tiny.folder, NpuSettings(tmp_path, (32, 64), requests=2), machine, print, timed_s=0.1)
    wrong, right = trial["buckets"]
    assert (wrong["tokens"], wrong["status"], right["error"], trial["status"]) == (64, 76, "", 76)
    assert wrong["worst"] == pytest.approx(0.2, abs=0.05)
    assert wrong["spread"] == pytest.approx(abs(wrong["expected"][0] - wrong["expected"][1]), abs=1e-4)
    assert "0.1 is allowed" in wrong["error"]
    report = as_markdown([], {"trial": trial}, {})
    assert "### 64 tokens" in report
    assert "of the distance between a relevant and an irrelevant passage" in report


def test_a_compiler_that_aborts_is_one_row_length_of_the_report(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path
) -> None:
    tree.tick()
    machine = StandIn(tree.root, tree.dev, compiler=[sys.executable, str(BENT), "abort-64"])
    trial = try_npu(tiny.folder, NpuSettings(tmp_path, (32, 64), requests=2), machine, print, timed_s=0.1)
    assert [(bucket["status"], "SIGABRT" in bucket["error"]) for bucket in trial["buckets"]] == [
        (65, True),
        (None, False),
    ]


def test_a_sweep_tries_every_variant_in_a_child(
    tree: SysfsTree, tiny: ReadyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "TIMED_S", 0.05)
    monkeypatch.setattr(sweep_module, "LENGTHS", (32, 512))
    monkeypatch.setattr(sweep_module, "variants", lambda tiles: variants(tiles)[:2])
    said: list[str] = []
    found = sweep(tiny.folder, NpuSettings(tmp_path), StandIn(tree.root, tree.dev), said.append)
    assert [(each["variant"], each["tokens"]) for each in found["tries"]] == [
        (variant, tokens) for variant in ("as set", "throughput") for tokens in (32, 64)
    ]
    for each in found["tries"]:
        assert each["error"] == ""
        assert set(each["rates"]) == {1, 2, 4, 8}
        assert each["worst"] < 0.1
        assert each["blob_mb"] >= 0
    assert said[-1].startswith("[4/4] 64 tokens, throughput: ")
    assert "| 64 | throughput |" in as_markdown([], {"sweep": found}, {})


def test_variants_that_this_device_has_no_tiles_for_are_left_out() -> None:
    assert not [each for each in variants(None) if "NPU_TILES" in each.options]
    assert [each.options["NPU_TILES"] for each in variants(6) if "NPU_TILES" in each.options] == ["6"]
    assert variants(6)[0].options == {}


def make_try(variant: str, tokens: int, rates: dict[int, float], worst: float = 0.01, error: str = "") -> Try:
    return Try(variant, tokens, {"V": variant}, rates, 1.0, 1.0, worst, None, error)


def test_the_best_setting_is_the_fastest_that_works_everywhere() -> None:
    now = [make_try("as set", 128, {1: 50, 8: 100}), make_try("as set", 512, {1: 10, 8: 20})]
    assert best(now, 0.1) is None
    faster = [make_try("latency", 128, {1: 120, 8: 90}), make_try("latency", 512, {1: 24, 8: 15})]
    found = best(now + faster, 0.1)
    assert found is not None
    assert (found.variant, found.in_flight, found.factor) == ("latency", 1, 1.2)
    hardly = [make_try("turbo", 128, {8: 104}), make_try("turbo", 512, {8: 20})]
    assert best(now + hardly, 0.1) is None
    wrong = [make_try("turbo", 128, {8: 900}), make_try("turbo", 512, {8: 900}, worst=0.2)]
    assert best(now + faster + wrong, 0.1) == found
    broken = [make_try("turbo", 128, {8: 900}), make_try("turbo", 512, {}, error="refused")]
    assert best(now + faster + broken, 0.1) == found
    assert best([make_try("as set", 128, {}, error="refused"), *faster], 0.1) is None
    assert describe(broken[1]) == "512 tokens, turbo: refused"


def settings_of(**values: Any) -> Settings:
    given: dict[str, Any] = {"npu_hint": "throughput", "npu_options": ("NPU_TURBO=YES",)} | values
    return type("Given", (), given)()  # type: ignore[no-any-return]


BEST = {"variant": "latency", "factor": 1.2, "in_flight": 2, "options": {"PERFORMANCE_HINT": "LATENCY"}}


def test_the_best_setting_becomes_lines_of_the_environment_file() -> None:
    mode = {"NPU_COMPILATION_MODE_PARAMS": "performance-hint-override=latency"}
    assert setting_lines(BEST, settings_of()) == [
        "OPENVINO_RERANKER_NPU_HINT=latency",
        "OPENVINO_RERANKER_NPU_REQUESTS=2",
        'OPENVINO_RERANKER_NPU_OPTIONS="NPU_TURBO=YES"',
    ]
    assert setting_lines(BEST | {"options": mode, "in_flight": 8}, settings_of(npu_options=())) == [
        "OPENVINO_RERANKER_NPU_HINT=throughput",
        "OPENVINO_RERANKER_NPU_REQUESTS=8",
        'OPENVINO_RERANKER_NPU_OPTIONS="NPU_COMPILATION_MODE_PARAMS=performance-hint-override=latency"',
    ]


@pytest.mark.parametrize(("terminal", "answer", "written"), [(True, "y", True), (True, "", False), (False, "y", False)])
def test_the_environment_file_is_the_persons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: str, written: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "openvino-reranker" / "environment"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    doctor._offer(BEST, settings_of())
    assert file.read_text().startswith("# mine\n")
    assert ("OPENVINO_RERANKER_NPU_HINT=latency" in file.read_text()) == written


def test_the_work_of_a_shape_is_counted(tiny: ReadyModel, packaged: ReadyModel) -> None:
    def flop(model: ReadyModel, tokens: int) -> float:
        graph = ov.Core().read_model(model.folder / "model.xml")
        make_static(graph, tokens)
        return count_flop(graph)

    # MiniLM-L12 at 128 tokens is 5.74 GFLOP with every layer in full; the last one needs only its first row.
    assert 5.2e9 < flop(packaged, 128) < 5.74e9
    assert flop(tiny, 64) > 2 * flop(tiny, 32)


def test_a_report_names_nothing_of_the_persons(tmp_path: Path) -> None:
    model = tmp_path / "secret" / "fp16"
    findings = [problem("model", f"cannot read {model}/model.xml", f"look at {Path.home()}/.cache/x")]
    private = private_texts({model: "model", tmp_path: "cache", None: "runtime"})
    text = as_markdown(findings, {"failed": f"{tmp_path}/compiled is full"}, private)
    assert "cannot read <model>/model.xml" in text
    assert "look at ~/.cache/x" in text
    assert "<cache>/compiled is full" in text
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text
    block = text.split("```json\n")[1].split("\n```")[0]
    assert json.loads(block)["findings"][0]["about"] == "model"
