"""The program: help that teaches, settings from flags and environment, rankings in the shell."""

import argparse
import json
import re
import sys
from pathlib import Path

import pytest
from openvino_reranker import __version__
from openvino_reranker.cli.main import COMMANDS, Command, make_parser
from openvino_reranker.cli.rerank import read_documents
from openvino_reranker.cli.setting_table import SETTINGS
from openvino_reranker.cli.settings import SettingError, as_environment, read_settings
from openvino_reranker.tests.processes import ROOT, Run, Service


def parsed(*argv: str) -> argparse.Namespace:
    return make_parser(argv).parse_args(argv)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_explains_itself(run: Run, command: Command) -> None:
    done = run(command.name, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 200
    for setting in SETTINGS:
        assert (f"[{setting.variable}]" in " ".join(done.stdout.split())) == (command.name in setting.commands)


def test_the_programs_own_help_and_version(run: Run) -> None:
    done = run("--help")
    for command in COMMANDS:
        assert re.search(rf"^    {command.name}\s", done.stdout, re.M)
    assert run("--version").stdout == f"openvino-reranker {__version__}\n"
    assert run().returncode == 2
    assert run("nonsense").returncode == 2


def test_a_missing_package_is_named_with_what_installs_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)  # its import fails, as if it were not there
    done = run("bench", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "'bench' needs the package tqdm, which is not installed; install 'openvino-reranker[all]'" in done.stderr


def test_settings_of_commands_name_commands() -> None:
    assert {name for setting in SETTINGS for name in setting.commands} <= {command.name for command in COMMANDS}


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default() -> None:
    environment = {"OPENVINO_RERANKER_PORT": "7", "OPENVINO_RERANKER_DEVICE": "cpu", "OPENVINO_RERANKER_HOST": ""}
    settings = read_settings(parsed("serve", "--port", "9"), environment)
    assert (settings.port, settings.device, settings.host) == (9, "CPU", "127.0.0.1")
    assert read_settings(parsed("serve"), {}).device == "NPU"
    assert read_settings(parsed("serve"), {}).port == 18818


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("DEVICE", "AUTO"),
        ("DEVICE", "TPU"),
        ("PRECISION", "fp32"),
        ("INFERENCE_PRECISION", "f16"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "soon"),
        ("THREADS", "-1"),
        ("BATCH_MS", "0"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(run: Run, variable: str, value: str) -> None:
    name = f"OPENVINO_RERANKER_{variable}"
    with pytest.raises(SettingError, match=f"{name} is '{value}'; it must be"):
        read_settings(parsed("serve"), {name: value})
    done = run("serve", **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"openvino-reranker: {name} is")


def test_settings_survive_the_way_through_the_environment() -> None:
    flags = [
        "serve",
        "--allow-host",
        "box,other",
        "--timeout",
        "2.5",
        "--device",
        "GPU",
        "--cache",
        "/c",
        "--threads=3",
    ]
    settings = read_settings(parsed(*flags), {"XDG_RUNTIME_DIR": "/run/user/7"})
    again = read_settings(parsed("serve"), as_environment(settings))
    assert again == settings
    assert again.allow_host == ("box", "other")


def test_a_flag_that_is_empty_takes_precedence_in_a_child_too() -> None:
    inherited = {"XDG_RUNTIME_DIR": "/run/user/7", "OPENVINO_RERANKER_UDS": "/x", "OPENVINO_RERANKER_ALLOW_HOST": "box"}
    settings = read_settings(parsed("serve", "--uds", "", "--allow-host", ""), inherited)
    child = read_settings(parsed("serve"), inherited | as_environment(settings))
    assert (child.uds, child.allow_host) == (None, ())


def test_spec_lists_every_setting_with_its_default() -> None:
    spec = (ROOT / "SPEC.md").read_text()
    for setting in SETTINGS:
        row = re.search(rf"^\| `{setting.variable}` \| `{setting.flag}` \|.*$", spec, re.MULTILINE)
        assert row is not None, setting.variable
        assert setting.help in row[0], setting.variable
        default = setting.default
        if default not in (None, ()):
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
            assert f"| `{shown}` |" in row[0], setting.variable


def test_documents_are_read_a_line_each() -> None:
    lines = ["plain text\n", "\n", '{"id": "a", "text": "b"}\n', '"quoted"\n', "{not json\n", "[1, 2]\n"]
    assert read_documents(lines) == ["plain text", {"id": "a", "text": "b"}, "quoted", "{not json", "[1, 2]"]


def test_rerank_prints_a_table_or_json(service: Service, run: Run, tmp_path: Path) -> None:
    here = ("rerank", "--runtime-dir", str(service.runtime))
    table = run(*here, "what is bread?", "the sky", "bread is baked dough", "--top-k", "1")
    assert table.returncode == 0, table.stderr
    assert re.search(r"1 +-?\d+\.\d{3} +[01]\.\d{4}  bread is baked dough\n", table.stdout)
    assert "the sky" not in table.stdout
    file = tmp_path / "documents.jsonl"
    file.write_text('{"id": "s", "text": "the sky"}\n{"id": "b", "text": "bread is baked dough"}\n')
    found = json.loads(run(*here, "what is bread?", "--file", str(file), "--json").stdout)
    assert [result["id"] for result in found["results"]] == ["b", "s"]
    assert found["device"] == "CPU"
    piped = run(*here, "what is bread?", stdin="the sky\nbread is baked dough\n")
    assert piped.stdout.index("bread is baked dough") < piped.stdout.index("the sky")


def test_rerank_explains_what_is_wrong(service: Service, run: Run, runtime: Path) -> None:
    here = ("rerank", "--runtime-dir", str(service.runtime))
    assert "documents is empty" in run(*here, "q").stderr
    assert "not both" in run(*here, "q", "d", "--file", "x").stderr
    missing = run(*here, "q", "--file", "/no/such/file")
    assert missing.returncode == 1
    assert "/no/such/file" in missing.stderr
    away = run("rerank", "q", "d", "--runtime-dir", str(runtime))
    assert away.returncode == 1
    assert away.stderr.count("\n") == 1
    assert "openvino-reranker serve" in away.stderr


@pytest.mark.parametrize("command", [["serve"], ["worker"], ["rerank", "q", "d"]])
def test_a_runtime_folder_too_long_for_a_socket_is_named(run: Run, command: list[str]) -> None:
    folder = "/tmp/" + "x" * 100
    done = run(*command, "--runtime-dir", folder)
    assert done.returncode == 2
    assert f"{folder}/requests.sock is longer than 107 bytes" in done.stderr
    # A command that has nothing to do with sockets does not mind.
    assert run("pull", OPENVINO_RERANKER_RUNTIME_DIR=folder, OPENVINO_RERANKER_MODEL_DIR="/m").returncode == 0
