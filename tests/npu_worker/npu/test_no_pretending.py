"""Nothing a person can set makes the worker claim an NPU that is not there."""

import subprocess
import sys
from pathlib import Path

import openvino as ov
import pytest
from openvino_reranker.cli.main import main
from openvino_reranker.cli.setting_table import SETTINGS
from openvino_reranker.npu_worker.errors import NotAnNpu, NoUserDriver
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.npu_worker.npu.host_embeddings import make_static
from openvino_reranker.npu_worker.npu.platform import Platform, check_plugin
from openvino_reranker.npu_worker.npu.settings import NpuSettings
from openvino_reranker.npu_worker.npu.start import start_npu
from openvino_reranker.npu_worker.npu.sysfs import find_npu
from openvino_reranker.npu_worker.openvino_core import shared_core
from openvino_reranker.npu_worker.tokenization import PairTokenizer
from openvino_reranker.tests.npu_worker.conftest import ROOT, environment
from openvino_reranker.tests.npu_worker.npu.stand_in import EXACT, IMPRECISE, StandIn
from openvino_reranker.tests.npu_worker.npu.sysfs_tree import SysfsTree

pytestmark = pytest.mark.skipif(find_npu() is not None, reason="this machine has an NPU")

#: Variables that somebody might hope for, of ours and of others.
VARIABLES = (
    "OPENVINO_RERANKER_SYSFS",
    "OPENVINO_RERANKER_NPU_SYSFS",
    "OPENVINO_RERANKER_SYSFS_ROOT",
    "OPENVINO_RERANKER_STAND_IN",
    "OPENVINO_RERANKER_TEST",
    "OPENVINO_RERANKER_FAKE_NPU",
    "OPENVINO_RERANKER_NPU_PLATFORM",
    "OPENVINO_RERANKER_NPU_COMPILER",
    "NPU_USE_NPUW",
    "NPUW_DEVICES",
    "NPUW_FORCE_DEVICE",
    "NPU_COMPILER_TYPE",
    "OV_NPU_USE_NPUW",
    "OV_NPUW_DEVICES",
    "OV_PLUGINS_XML",
    "OPENVINO_PLUGINS_XML",
    "SYSFS_PATH",
    "SYSFS",
)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tree: SysfsTree, tiny: ReadyModel) -> list[str]:
    """Return the worker's command for a machine where everything but an NPU is there."""
    tree.tick()
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    folders = ["--runtime-dir", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    return ["worker", "--device", "NPU", "--model-dir", str(tiny.folder), *folders]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--npu-options", "NPU_TURBO=YES"],
        ["--npu-options", "NPU_USE_NPUW=YES,NPUW_DEVICES=CPU"],
        ["--npu-options", "NPUW_DEVICES=CPU"],
        ["--npu-options", "DEVICE_ID=CPU"],
    ],
    ids=lambda arguments: " ".join(arguments) or "none",
)
def test_no_option_does_it(clean: list[str], arguments: list[str]) -> None:
    assert main([*clean, *arguments]) in {2, 69}  # no such value, or no NPU


def test_no_environment_variable_does_it(tree: SysfsTree, clean: list[str]) -> None:
    for extra in (
        {},
        dict.fromkeys(VARIABLES, "YES"),
        dict.fromkeys(VARIABLES, "CPU"),
        dict.fromkeys(VARIABLES, str(tree.base)),
    ):
        command = [sys.executable, "-m", "openvino_reranker", *clean]
        done = subprocess.run(command, env=environment() | extra, capture_output=True, text=True, check=False)
        assert done.returncode == 69, done.stderr
        assert "no NPU: no device under /sys/class/accel has the driver intel_vpu" in done.stderr


def test_serve_gives_up_at_once(tmp_path: Path, tiny: ReadyModel) -> None:
    folders = ["--runtime-dir", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "openvino_reranker", "serve", "--port", "0", "--model-dir", str(tiny.folder)]
    done = subprocess.run([*command, *folders], env=environment(), capture_output=True, text=True, timeout=40)
    assert done.returncode == 69
    assert "no NPU" in done.stderr
    assert "ready:" not in done.stdout


def test_a_plugin_that_is_a_proxy_is_refused(proxy: ov.Core) -> None:
    assert "NPU" in proxy.available_devices
    with pytest.raises(NotAnNpu, match="openvino_proxy_plugin, not openvino_intel_npu_plugin"):
        check_plugin(proxy)


def test_a_proxy_is_refused_by_the_platform_even_if_the_kernel_has_an_npu(tree: SysfsTree, proxy: ov.Core) -> None:
    with pytest.raises(NotAnNpu, match="proxy"):
        Platform(tree.root, tree.dev).identify(proxy)


def test_the_real_plugin_is_not_taken_for_a_device(tree: SysfsTree) -> None:
    with pytest.raises(NoUserDriver, match="OpenVINO finds only CPU"):
        Platform(tree.root, tree.dev).identify(ov.Core())


@pytest.mark.parametrize("options", [EXACT, IMPRECISE], ids=["exact", "imprecise"])
@pytest.mark.parametrize("imported", [False, True], ids=["compiled", "imported"])
def test_the_stand_in_itself_is_refused(tiny: ReadyModel, options: dict[str, str], imported: bool) -> None:
    core = ov.Core()
    graph = core.read_model(tiny.folder / "model.xml")
    make_static(graph, 32)
    compiled = core.compile_model(graph, "NPU", options)
    if imported:
        compiled = core.import_model(compiled.export_model(), "NPU", {})
    assert compiled.get_property("EXECUTION_DEVICES") == "NPU"
    with pytest.raises(NotAnNpu, match="NPUW"):
        Platform().check_compiled(compiled)


def test_a_model_on_another_device_is_refused(tiny: ReadyModel) -> None:
    compiled = shared_core().compile_model(tiny.folder / "model.xml", "CPU")
    with pytest.raises(NotAnNpu, match=r"runs on \['CPU'\]"):
        Platform().check_compiled(compiled)


def test_every_bucket_is_checked(tree: SysfsTree, tiny: ReadyModel, tmp_path: Path) -> None:
    # Given a machine that is a stand-in in all but the check of what was compiled
    class Careful(StandIn):
        check_compiled = Platform.check_compiled

    tree.tick()
    tokenizer = PairTokenizer(tiny.folder / "tokenizer.json", 64)
    with pytest.raises(NotAnNpu, match="NPU_USE_NPUW=True"):
        start_npu(tiny, tokenizer, NpuSettings(tmp_path), Careful(tree.root, tree.dev), print)


def test_the_product_names_no_stand_in() -> None:
    # The words may stand where they are refused, and nowhere else.
    files = [path for folder in ("npu_worker", "cli", "daemon") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 60
    for path in files:
        if path.name not in {"platform.py", "plugin_options.py"}:
            assert "NPUW" not in path.read_text(), path
        assert "stand_in" not in path.read_text(), path
        assert "simulated_npu" not in path.read_text(), path
    assert (Platform.forced_options, Platform.device_name) == ({}, "NPU")
