"""LangChain, LlamaIndex and Haystack use the running service through their own interfaces.

Behind the marker ``rag``: ``make test-rag``. Each program runs in an environment that has the real frameworks.
"""

import subprocess
from pathlib import Path

import pytest
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import Service, clean_environment

pytestmark = [pytest.mark.rag, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def python() -> Path:
    return python_with(HERE / "requirements" / "adapters.txt")


@pytest.mark.parametrize("way", ["http", "socket"])
@pytest.mark.parametrize("framework", ["langchain", "llama_index", "haystack"])
def test_a_framework_gets_the_order_of_the_service(python: Path, service: Service, framework: str, way: str) -> None:
    endpoint = service.url if way == "http" else str(service.socket)
    done = subprocess.run(
        [python, "-W", "error:::openvino_reranker", HERE / "programs" / f"{framework}_program.py", endpoint],
        env=clean_environment(HAYSTACK_TELEMETRY_ENABLED="False"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all held\n")


def test_the_client_alone_imports_no_framework(python: Path) -> None:
    code = (
        "import sys, openvino_reranker.client\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'langchain_core', 'llama_index', 'haystack'}))"
    )
    done = subprocess.run([python, "-c", code], env=clean_environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
