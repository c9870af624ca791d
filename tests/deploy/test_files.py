"""The compose file and the Kubernetes example: checked against their schemas, offline, and against what we take.

Neither is run: there is no container engine and no cluster here.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from openvino_reranker.cli.main import make_parser
from openvino_reranker.cli.setting_table import SETTINGS
from openvino_reranker.cli.settings import read_settings
from openvino_reranker.client.over_http import API_KEY_VARIABLE
from openvino_reranker.tests.processes import ROOT

DEPLOY = ROOT / "deploy"
VARIABLES = {setting.variable for setting in SETTINGS} | {API_KEY_VARIABLE}


def documents() -> dict[str, Any]:
    loaded = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    return {document["kind"]: document for document in loaded}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = documents()["Deployment"]["spec"]["template"]["spec"]
    return spec


def containers() -> dict[str, dict[str, Any]]:
    spec = pod()
    return {container["name"]: container for container in spec["initContainers"] + spec["containers"]}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def check_command(command: list[str], environment: dict[str, str]) -> None:
    """Check that a container's command line and variables are ones that the program takes."""
    assert command[0] == "openvino-reranker"
    read_settings(make_parser(command[1:]).parse_args(command[1:]), environment)
    assert set(environment) <= VARIABLES


def test_the_compose_file_is_one() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    check = (sys.executable, "-m", "check_jsonschema", *schema, str(DEPLOY / "compose.yaml"))
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_starts_what_we_have() -> None:
    services = compose()["services"]
    proxy = services.pop("haproxy")
    for service in services.values():
        check_command(service["command"], service["environment"])
        assert "ports" not in service  # reached by the proxy alone
    nodes = {value for name, value in proxy["environment"].items() if name.startswith("NODE")}
    assert nodes == {f"{name}:18818" for name in services}
    assert all(port.startswith("127.0.0.1:") for port in proxy["ports"])


def test_what_the_docs_say_to_type_is_taken() -> None:
    lines = [line for line in (ROOT / "docs" / "scale.md").read_text().splitlines() if line.startswith("openvino-")]
    assert len(lines) == 3
    for line in lines:
        check_command(shlex.split(line), {})


def test_the_kubernetes_example_is_valid() -> None:
    for document in documents().values():
        kubernetes_validate.validate(document, "1.33", strict=True)
    documents_of_a_typo = documents()["Service"]
    documents_of_a_typo["spec"]["selektor"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="selektor"):
        kubernetes_validate.validate(documents_of_a_typo, "1.33", strict=True)


def test_the_kubernetes_example_starts_what_we_have() -> None:
    made = containers()
    assert set(made) == {"worker", "broker", "http"}
    folders = set()
    for name, container in made.items():
        environment = {each["name"]: each.get("value", "a key") for each in container["env"]}
        check_command(container["command"], environment)
        assert container["command"][1] == name
        folders.add(environment["OPENVINO_RERANKER_RUNTIME_DIR"])
        assert {"name": "sockets", "mountPath": "/run/openvino-reranker"} in container["volumeMounts"]
        has_npu = "npu.intel.com/accel" in container["resources"]["limits"]
        assert has_npu == (name == "worker")
    # A folder in the volume, not the volume itself: that one belongs to root, and others may write to it.
    assert folders == {"/run/openvino-reranker/sockets"}
    sockets = next(volume for volume in pod()["volumes"] if volume["name"] == "sockets")
    assert sockets["emptyDir"]["medium"] == "Memory"


def probes(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, probe in container.items():
        if name.endswith("Probe"):
            yield probe["httpGet"]


def test_probes_have_a_host_that_the_front_takes() -> None:
    front = containers()["http"]
    asked = list(probes(front))
    assert {probe["path"] for probe in asked} == {"/readyz", "/healthz"}
    for probe in asked:
        assert probe["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
        assert probe["port"] == front["ports"][0]["name"]


def test_the_front_is_stopped_first_and_all_have_time() -> None:
    spec = pod()
    # Sidecars stop in reverse order, after the others: front, broker, worker, as with serve.
    assert [container["name"] for container in spec["initContainers"]] == ["worker", "broker"]
    assert all(container["restartPolicy"] == "Always" for container in spec["initContainers"])
    sleeps = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= sleeps + 3 * 10
