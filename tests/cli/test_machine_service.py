"""A command without a setting finds the service of the whole machine, and measures no other model than it serves."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from openvino_reranker.cli.main import main
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol import socket_paths
from openvino_reranker.tests.processes import Run, RuntimeFolder, Service


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system units' folder with the socket of a service that has gone, and a user who has none."""
    with RuntimeFolder() as own, RuntimeFolder() as folder, socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(folder / "requests.sock"))
        for variable in ("OPENVINO_RERANKER_RUNTIME_DIR", "OPENVINO_RERANKER_MODEL_DIR"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
        monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as bench itself does, which is not to last
        monkeypatch.setattr(socket_paths, "SYSTEM_RUNTIME_DIR", folder)
        yield folder


def test_bench_finds_it(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 1
    assert str(machine / "requests.sock") in capsys.readouterr().err


def test_doctor_finds_it(machine: Path, tiny: ReadyModel, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json", "--model-dir", str(tiny.folder)])
    found = [each["found"] for each in json.loads(capsys.readouterr().out)["findings"] if each["about"] == "socket"]
    assert f"{machine / 'requests.sock'}: nothing is listening" in found


def test_a_ceiling_of_another_model_is_refused(service: Service, run: Run, tiny: ReadyModel, tmp_path: Path) -> None:
    settings = service.settings | {"OPENVINO_RERANKER_MODEL_DIR": str(tiny.folder)}
    done = run("bench", "--ceiling", "--mix", "1x1", "--requests", "1", **settings)
    assert done.returncode == 1
    assert "would measure tiny-reranker, and the service has packaged:ms-marco-MiniLM-L-12-v2" in done.stderr
    none = run("bench", "--ceiling", **service.settings | {"OPENVINO_RERANKER_MODEL_DIR": str(tmp_path)})
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)
    assert "no model is ready" in none.stderr
