"""schemathesis holds the running service against its OpenAPI document: what it answers is what is written there."""

import subprocess
from pathlib import Path

import pytest
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import Service, clean_environment

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

REQUIREMENTS = Path(__file__).parent / "requirements" / "fuzz.txt"
#: No schema says that ``top_k`` and ``top_n`` must agree, so a request it calls valid may be refused.
EXCLUDED = "positive_data_acceptance"


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def test_what_is_answered_is_what_the_document_says(service: Service) -> None:
    command = [
        str(python_with(REQUIREMENTS).with_name("schemathesis")),
        f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
        "run",
        service.url + "/openapi.json",
        "--no-color",
    ]
    options = ["--max-examples=8", "--phases=fuzzing", f"--exclude-checks={EXCLUDED}", "--request-timeout=60"]
    front = service.status().peers["http_front"]
    before = resident_mb(front[0])
    environ = clean_environment()
    del environ["PYTHONPATH"]
    done = subprocess.run(
        [*command, *options], env=environ, capture_output=True, text=True, timeout=800, check=False, cwd=service.runtime
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert service.status().peers["http_front"] == front  # the same process, and no larger for it
    assert resident_mb(front[0]) < before + 30
    assert "Traceback" not in service.output
