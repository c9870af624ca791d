"""install-units and uninstall-units, into a home of the test's own."""

import re
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from openvino_reranker.cli.install.unit_files import TemplateValues, quote, render_units, unreachable
from openvino_reranker.cli.setting_table import SETTINGS
from openvino_reranker.tests.processes import Run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def units(home: Path) -> Path:
    return home / ".config/systemd/user"


@pytest.fixture
def environment(home: Path) -> Path:
    return home / ".config/openvino-reranker/environment"


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def states(done: "CompletedProcess[str]") -> set[str]:
    return {line.split()[0] for line in done.stdout.splitlines() if re.match(r"\w+ +/", line)}


def test_install_writes_units_and_says_what_to_run_next(run: Run, units: Path, environment: Path) -> None:
    done = run("install-units")
    assert done.returncode == 0
    assert states(done) == {"written"}
    assert len(list(units.iterdir())) == 7
    assert not list(units.glob("*.wants"))  # nothing is enabled
    assert "systemctl --user enable --now openvino-reranker.target" in done.stdout
    assert not re.search(r"@[A-Z]+@", "".join(contents(units).values()))  # every placeholder is filled
    settings = environment.read_text()
    for setting in SETTINGS:
        if setting.name != "runtime_dir":
            assert f"\n#{setting.variable}=" in settings
            assert f"\n# {setting.help}\n" in settings


def test_install_again_changes_nothing(run: Run, home: Path) -> None:
    run("install-units", "--device", "CPU")
    before = contents(home)
    assert states(run("install-units", "--device", "CPU")) == {"unchanged", "kept"}
    assert states(run("install-units")) == {"unchanged", "kept"}  # what was chosen once holds
    assert contents(home) == before


def test_dry_run_writes_nothing(run: Run, home: Path, environment: Path) -> None:
    done = run("install-units", "--dry-run")
    assert done.returncode == 0
    assert f"to write   {environment}" in done.stdout
    assert contents(home) == {}
    run("install-units")
    before = contents(home)
    assert "to remove" in run("uninstall-units", "--dry-run").stdout
    assert contents(home) == before


def test_units_are_overwritten_and_drop_ins_stay(run: Run, units: Path) -> None:
    run("install-units")
    unit = units / "openvino-reranker-worker.service"
    ours = unit.read_text()
    unit.write_text(ours.replace("MemoryMax=8G", "MemoryMax=20G"))
    drop_in = units / "openvino-reranker-worker.service.d/override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nMemoryMax=20G\n")
    assert f"updated    {unit}" in run("install-units").stdout
    assert unit.read_text() == ours
    assert drop_in.read_text() == "[Service]\nMemoryMax=20G\n"
    run("uninstall-units")
    assert [path.name for path in units.iterdir()] == [drop_in.parent.name]


def test_a_file_that_was_never_ours_is_neither_overwritten_nor_removed(run: Run, units: Path, home: Path) -> None:
    units.mkdir(parents=True)
    (units / "openvino-reranker.target").write_text("[Unit]\n")
    before = contents(home)
    done = run("install-units")
    assert done.returncode == 1
    assert f"{units / 'openvino-reranker.target'} was not written by install-units" in done.stderr
    assert "no units written by install-units" in run("uninstall-units").stdout
    assert contents(home) == before


def test_units_of_an_older_version_are_ours(run: Run, units: Path) -> None:
    run("install-units")
    unit = units / "openvino-reranker-http.service"
    new = unit.read_text()
    unit.write_text("# Written by openvino-reranker install-units; sha256 of what follows: 0\n[Service]\n")
    assert f"updated    {unit}" in run("install-units").stdout
    assert unit.read_text() == new


def test_settings_go_to_a_new_environment_file_and_into_the_units(run: Run, units: Path, environment: Path) -> None:
    run("install-units", "--device", "cpu", "--port", "20001", OPENVINO_RERANKER_THREADS="2")
    for line in ("OPENVINO_RERANKER_DEVICE=CPU", "OPENVINO_RERANKER_PORT=20001", "OPENVINO_RERANKER_THREADS=2"):
        assert f"\n{line}\n" in environment.read_text()
    assert "\nListenStream=127.0.0.1:20001\n" in (units / "openvino-reranker-http.socket").read_text()


def test_an_environment_file_is_read_and_never_touched(run: Run, units: Path, environment: Path) -> None:
    run("install-units", "--device", "CPU", "--port", "20001")
    # Given a file that its owner changed: another port, other words for the device, and bytes that are not UTF-8
    mine = environment.read_text().replace("20001", "20002").replace("DEVICE=CPU", 'DEVICE="cpu"') + "# caf\udce9\n"
    environment.write_text(mine, errors="surrogateescape")
    environment.chmod(0o640)
    # Then its port reaches the unit
    done = run("install-units", "--device", "CPU")
    assert (done.returncode, states(done)) == (0, {"updated", "unchanged", "kept"})
    assert "\nListenStream=127.0.0.1:20002\n" in (units / "openvino-reranker-http.socket").read_text()
    # A flag that says something else is refused, with the line to write there
    before = contents(units)
    done = run("install-units", "--port", "20003", "--threads", "4", "--device", "CPU")
    assert done.returncode == 2
    assert f"{environment} holds the settings" in done.stderr
    assert re.findall(r"^  (OPENVINO.*)$", done.stderr, re.M) == [
        "OPENVINO_RERANKER_PORT=20003",
        "OPENVINO_RERANKER_THREADS=4",
    ]
    assert contents(units) == before
    # And a variable that is set here alone, where the services do not see it, is not used in silence
    done = run("install-units", OPENVINO_RERANKER_BATCH_MS="50", OPENVINO_RERANKER_PORT="20002")
    assert re.findall(r"warning: (OPENVINO\S+) is set here", done.stderr) == ["OPENVINO_RERANKER_BATCH_MS"]
    assert environment.read_text(errors="surrogateescape") == mine
    assert environment.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("by", ["flag", "variable"])
@pytest.mark.parametrize("given", ["./model", "~/model", "{home}/../{name}/model", "./not-there"])
def test_a_models_path_is_stored_as_every_service_finds_it(
    run: Run, environment: Path, home: Path, monkeypatch: pytest.MonkeyPatch, by: str, given: str
) -> None:
    (home / "model").mkdir()
    monkeypatch.chdir(home)  # which the program is run in, and the services are not
    model = given.format(home=home, name=home.name)
    if by == "flag":
        run("install-units", "--model", model)
    else:
        run("install-units", OPENVINO_RERANKER_MODEL=model)
    (stored,) = re.findall(r"^OPENVINO_RERANKER_MODEL=(.*)$", environment.read_text(), re.M)
    assert Path(stored).is_absolute()
    assert Path(stored).resolve() == home / Path(given).name


@pytest.mark.parametrize("model", ["packaged", "cross-encoder/ms-marco-MiniLM-L6-v2"])
def test_a_model_that_is_not_a_path_stays_as_it_is(
    run: Run, environment: Path, home: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (home / "packaged").mkdir()  # the word wins over a folder
    monkeypatch.chdir(home)
    run("install-units", "--model", model)
    assert f"\nOPENVINO_RERANKER_MODEL={model}\n" in environment.read_text()


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.2", "127.0.0.2")])
def test_the_address_to_try_is_one_that_can_be_reached(run: Run, home: Path, host: str, shown: str) -> None:
    assert f"smoke --url http://{shown}:18818\n" in run("install-units", "--host", host).stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--device", "TPU"], "--device is 'TPU'; it must be one of NPU, CPU, GPU"),
        (["--host", "example.org"], "a socket unit needs an address"),
        (["--port", "0"], "a socket unit needs a port"),
    ],
)
def test_wrong_setting_is_refused_and_nothing_written(run: Run, home: Path, options: list[str], says: str) -> None:
    done = run("install-units", *options)
    assert done.returncode == 2
    assert says in done.stderr
    assert contents(home) == {}


def test_uninstall_removes_the_units_and_nothing_else(run: Run, units: Path, environment: Path) -> None:
    run("install-units")
    (units / "other.service").write_text("[Service]\n")
    (units / "openvino-reranker-mine.timer").write_text("[Timer]\n")
    done = run("uninstall-units")
    assert done.returncode == 0
    paths = re.findall(r"^(kept|removed) +(/\S+)", done.stdout, re.M)
    assert [path for state, path in paths if state == "kept"] == [str(environment)]
    assert len({path for state, path in paths if state == "removed"}) == 7
    assert len(paths) == 8  # of each it says one thing, once
    assert {path.name for path in units.iterdir()} == {"other.service", "openvino-reranker-mine.timer"}
    assert environment.exists()
    assert "no units written by install-units" in run("uninstall-units").stdout


def test_units_still_enabled_are_not_removed(run: Run, units: Path, home: Path) -> None:
    run("install-units")
    wants = units / "default.target.wants"
    wants.mkdir()
    (wants / "openvino-reranker.target").symlink_to(units / "openvino-reranker.target")
    before = contents(home)
    done = run("uninstall-units")
    assert done.returncode == 1
    assert "systemctl --user disable --now openvino-reranker.target" in done.stderr
    assert contents(home) == before


def test_system_units_go_below_the_root_and_name_the_real_paths(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "image"
    done = run("install-units", "--system", "--root", str(root), "--device", "CPU")
    assert states(done) == {"written"}
    assert {path.parent.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == {
        "etc/systemd/system",
        "etc/sysusers.d",
        "etc/openvino-reranker",
    }
    service = (root / "etc/systemd/system/openvino-reranker-worker.service").read_text()
    assert "\nEnvironmentFile=-/etc/openvino-reranker/environment\n" in service
    assert f"\nExecStart={sys.executable} -P " in service
    assert "systemd-sysusers" in done.stdout
    run("uninstall-units", "--system", "--root", str(root))
    assert [Path(path).name for path in contents(root)] == ["environment"]


def test_folder_that_cannot_be_written_is_named(run: Run, units: Path) -> None:
    units.parent.mkdir(parents=True)
    units.write_text("a file where a folder should be")
    done = run("install-units")
    assert done.returncode == 1
    assert f"cannot read or write {units}" in done.stderr


def rendered(monkeypatch: pytest.MonkeyPatch, prefix: str, *needed: str) -> str:
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, prefix)
    monkeypatch.setattr(sys, "executable", f"{prefix}/bin/python")
    values = TemplateValues(Path("/etc/e"), "127.0.0.1", 18818, "NPU", tuple(Path(each) for each in needed), {78})
    return render_units("system", values)["openvino-reranker-worker.service"]


def test_homes_are_closed_but_for_what_the_services_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openvino_reranker.cli.install.unit_files._package_folder", lambda: Path("/opt/rr/lib"))
    assert "\nProtectHome=yes\n" in rendered(monkeypatch, "/opt/rr")
    text = rendered(monkeypatch, "/home/ann/my env", "/root/model", "/home/ann/my env/lib")
    assert "\nProtectHome=tmpfs\n" in text
    assert '\nBindReadOnlyPaths="/home/ann/my env" /root/model\n' in text
    assert '\nExecStart="/home/ann/my env/bin/python" -P ' in text


def test_words_of_unit_files_are_quoted() -> None:
    assert quote("/opt/a-b_c.d/python3") == "/opt/a-b_c.d/python3"
    assert quote("/a b") == '"/a b"'
    assert quote("/50%/$x") == "/50%%/$$x"
    assert quote('/a"\\') == '"/a\\"\\\\"'


def test_closed_folders_are_found(tmp_path: Path) -> None:
    closed, inner = tmp_path / "closed", tmp_path / "closed/inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    assert closed in unreachable([inner])
    closed.chmod(0o755)
    assert closed not in unreachable([inner])


@pytest.mark.parametrize(("megabytes", "memory"), [(66, "8G"), (560, "12G")], ids=["a small model", "a large one"])
def test_the_workers_memory_follows_the_model(
    run: Run, units: Path, tmp_path: Path, megabytes: int, memory: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    with (model / "model.bin").open("wb") as weights:
        weights.truncate(megabytes * 1_000_000)
    assert run("install-units", "--model-dir", str(model)).returncode == 0
    assert f"MemoryMax={memory}\n" in (units / "openvino-reranker-worker.service").read_text()
