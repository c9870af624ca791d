"""The lowest versions of what this project depends on do as well as those of the development environment."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import ROOT, clean_environment
from packaging.requirements import Requirement
from packaging.version import Version

LOWEST = Path(__file__).parent / "requirements" / "lowest.txt"
#: Those with packages that the program imports; ``ray`` has an environment of its own.
EXTRAS = ("worker", "http", "int8", "mcp", "watch", "bulk")

#: Each dependency is used by one of these: sockets, messages, HTTP, the tokenizer, models, int8, Parquet, the rest.
TESTS = (
    "tests/client/test_client.py",
    "tests/protocol",
    "tests/http_front/test_connections.py",
    "tests/http_front/test_metrics.py",
    "tests/npu_worker/test_tokenization.py",
    "tests/npu_worker/model/test_local.py::test_another_onnx_is_taken_as_it_is",
    "tests/npu_worker/model/test_local.py::test_int8_scores_nearly_alike",
    "tests/bench/test_judged.py",
    "tests/bulk/test_bulk_parts.py",
    "tests/cli/test_mcp.py",
    "tests/cli/test_status.py",
)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


def test_the_lowest_versions_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = list(project["dependencies"])
    for extra in EXTRAS:
        allowed += project["optional-dependencies"][extra]
    lowest = {}
    for requirement in map(Requirement, allowed):
        (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
        lowest[_normal(requirement.name)] = Version(bound)
    pinned = {_normal(name): Version(version) for name, version in _pins()}
    assert {name: pinned.get(name) for name in lowest} == lowest


def test_they_do_as_well(packaged: ReadyModel) -> None:  # which that environment has no pip to download
    python = python_with(LOWEST)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *TESTS],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def _pins() -> list[tuple[str, str]]:
    return [(name, version) for name, version in re.findall(r"^([\w.-]+)==(\S+)$", LOWEST.read_text(), re.MULTILINE)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
