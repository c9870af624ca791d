"""install-units and uninstall-units, into a home of the test's own."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from openvino_reranker.cli.install.stamped_file import StampedFile, stamped
from openvino_reranker.cli.install.unit_files import Values, quote, render_units, unreachable
from openvino_reranker.cli.settings import SETTINGS
from openvino_reranker.tests.processes import run_program

Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def program(*arguments: str, **extra: str) -> "CompletedProcess[str]":
        home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
        return run_program(*arguments, **home, **extra)

    return program


@pytest.fixture
def units(tmp_path: Path) -> Path:
    return tmp_path / ".config/systemd/user"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return tmp_path / ".config/openvino-reranker/environment"


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


def test_install_again_changes_nothing(run: Run, tmp_path: Path) -> None:
    run("install-units", "--device", "CPU")
    before = contents(tmp_path)
    assert states(run("install-units", "--device", "CPU")) == {"unchanged"}
    assert states(run("install-units")) == {"unchanged"}  # what was chosen once holds
    assert contents(tmp_path) == before


def test_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    done = run("install-units", "--dry-run")
    assert done.returncode == 0
    assert "+ExecStart=" in done.stdout
    assert contents(tmp_path) == {}
    run("install-units")
    before = contents(tmp_path)
    run("uninstall-units", "--dry-run")
    assert contents(tmp_path) == before


def test_unit_changed_by_hand_is_kept_and_the_difference_shown(run: Run, units: Path) -> None:
    run("install-units")
    unit = units / "openvino-reranker-worker.service"
    mine = unit.read_text().replace("MemoryMax=8G", "MemoryMax=20G")
    unit.write_text(mine)
    done = run("install-units")
    assert done.returncode == 0
    assert f"kept       {unit}" in done.stdout
    assert "-MemoryMax=20G\n+MemoryMax=8G\n" in done.stdout
    assert unit.read_text() == mine
    assert states(done) == {"kept", "unchanged"}
    assert "replaced" in states(run("install-units", "--replace"))
    assert "MemoryMax=8G" in unit.read_text()
    assert unit.with_name(f"{unit.name}~").read_text() == mine  # nothing of anybody's is lost


def test_file_that_was_never_ours_is_kept(run: Run, units: Path) -> None:
    units.mkdir(parents=True)
    (units / "openvino-reranker.target").write_text("[Unit]\n")
    assert "kept" in states(run("install-units"))
    assert (units / "openvino-reranker.target").read_text() == "[Unit]\n"


def test_unit_of_an_older_version_is_brought_up_to_date(run: Run, units: Path) -> None:
    run("install-units")
    unit = units / "openvino-reranker-http.service"
    new = unit.read_text()
    unit.write_text(stamped("[Service]\nExecStart=/bin/true\n"))
    assert states(run("install-units")) == {"updated", "unchanged"}
    assert unit.read_text() == new


def test_settings_go_to_the_environment_file_and_into_the_units(run: Run, units: Path, environment: Path) -> None:
    run("install-units", "--device", "cpu", "--port", "20001", OPENVINO_RERANKER_THREADS="2")
    for line in ("OPENVINO_RERANKER_DEVICE=CPU", "OPENVINO_RERANKER_PORT=20001", "OPENVINO_RERANKER_THREADS=2"):
        assert f"\n{line}\n" in environment.read_text()
    assert "\nListenStream=127.0.0.1:20001\n" in (units / "openvino-reranker-http.socket").read_text()
    # A port that a person writes into the file reaches the unit the next time; the file stays as it is.
    mine = environment.read_text().replace("20001", "20002") + "# note to self\n"
    environment.write_text(mine)
    done = run("install-units")
    assert states(done) == {"updated", "unchanged", "kept"}
    assert "-# note to self" in done.stdout
    assert "\nListenStream=127.0.0.1:20002\n" in (units / "openvino-reranker-http.socket").read_text()
    assert environment.read_text() == mine
    # Replaced, it loses the note and keeps the values.
    run("install-units", "--replace")
    assert "\nOPENVINO_RERANKER_PORT=20002\n" in environment.read_text()
    assert "note to self" not in environment.read_text()


def test_flags_reach_an_environment_file_that_was_changed_by_hand(run: Run, units: Path, environment: Path) -> None:
    run("install-units", "--device", "CPU", "--threads", "2")
    # Given a file with a note, a setting of the person's own in other words, and one assigned twice
    note = "# note to self: ask Ann\nOTHER_PROGRAMS=1 # caf\udce9"
    mine = environment.read_text().replace("DEVICE=CPU", "DEVICE=cpu") + f"OPENVINO_RERANKER_THREADS=3\n{note}\n"
    environment.write_text(mine, errors="surrogateescape")
    environment.chmod(0o640)
    flags = ("--port", "20001", "--threads", "4", "--device", "CPU")
    # When it is installed again with flags
    dry = run("install-units", "--dry-run", *flags)
    assert environment.read_text(errors="surrogateescape") == mine
    done = run("install-units", *flags, OPENVINO_RERANKER_BATCH_MS="50")
    # Then their lines are changed where they stand, and no other
    expected = mine.replace("#OPENVINO_RERANKER_PORT=18818", "OPENVINO_RERANKER_PORT=20001")
    expected = expected.replace("OPENVINO_RERANKER_THREADS=3", "OPENVINO_RERANKER_THREADS=4")
    expected = expected.replace("#OPENVINO_RERANKER_BATCH_MS=100", "OPENVINO_RERANKER_BATCH_MS=50")
    assert environment.read_text(errors="surrogateescape") == expected
    assert environment.stat().st_mode & 0o777 == 0o640
    assert f"edited     {environment}" in done.stdout
    for shown in (dry.stdout, done.stdout):
        assert "-#OPENVINO_RERANKER_PORT=18818\n+OPENVINO_RERANKER_PORT=20001\n" in shown
    assert "\nListenStream=127.0.0.1:20001\n" in (units / "openvino-reranker-http.socket").read_text()
    # And they hold the next time; the file goes on being the person's.
    assert states(run("install-units")) == {"unchanged", "kept"}
    assert states(run("install-units", *flags)) == {"unchanged", "kept"}
    assert environment.read_text(errors="surrogateescape") == expected
    # A setting of which nothing is left in the file is added to it.
    lines = [line for line in expected.splitlines() if "OPENVINO_RERANKER_HOST" not in line]
    environment.write_text("\n".join(lines) + "\n", errors="surrogateescape")
    run("install-units", "--host", "127.0.0.2")
    assert environment.read_text(errors="surrogateescape").endswith("\nOPENVINO_RERANKER_HOST=127.0.0.2\n")


@pytest.mark.parametrize("by", ["flag", "variable"])
@pytest.mark.parametrize("given", ["./model", "~/model", "{home}/../{name}/model", "./not-there"])
def test_a_models_path_is_stored_as_every_service_finds_it(
    run: Run, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, given: str
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)  # which the program is run in, and the services are not
    model = given.format(home=tmp_path, name=tmp_path.name)
    if by == "flag":
        run("install-units", "--model", model)
    else:
        run("install-units", OPENVINO_RERANKER_MODEL=model)
    (stored,) = re.findall(r"^OPENVINO_RERANKER_MODEL=(.*)$", environment.read_text(), re.M)
    assert Path(stored).is_absolute()
    assert Path(stored).resolve() == tmp_path / Path(given).name


@pytest.mark.parametrize("model", ["packaged", "cross-encoder/ms-marco-MiniLM-L6-v2"])
def test_a_model_that_is_no_path_stays_as_it_is(
    run: Run, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (tmp_path / "packaged").mkdir()  # the word wins over a folder
    monkeypatch.chdir(tmp_path)
    run("install-units", "--model", model)
    assert f"\nOPENVINO_RERANKER_MODEL={model}\n" in environment.read_text()


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.2", "127.0.0.2")])
def test_the_address_to_try_is_one_that_can_be_reached(run: Run, host: str, shown: str) -> None:
    assert f"smoke --url http://{shown}:18818\n" in run("install-units", "--host", host).stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--device", "TPU"], "--device is 'TPU'; it must be one of NPU, CPU, GPU"),
        (["--host", "example.org"], "a socket unit needs an address"),
        (["--port", "0"], "a socket unit needs a port"),
    ],
)
def test_wrong_setting_is_refused_and_nothing_written(run: Run, tmp_path: Path, options: list[str], told: str) -> None:
    done = run("install-units", *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert contents(tmp_path) == {}


def test_uninstall_removes_what_was_written_and_nothing_else(run: Run, units: Path, environment: Path) -> None:
    run("install-units")
    changed = units / "openvino-reranker-broker.service"
    changed.write_text(changed.read_text() + "Nice=5\n")
    (units / "other.service").write_text("[Service]\n")
    (units / "openvino-reranker-mine.timer").write_text("[Timer]\n")
    done = run("uninstall-units")
    assert done.returncode == 0
    paths = re.findall(r"^(kept|removed) +(/\S+)", done.stdout, re.M)
    assert [path for state, path in paths if state == "kept"] == [str(changed)]
    assert len([path for state, path in paths if state == "removed"]) == 7  # six units and the environment file
    assert len({path for _, path in paths}) == len(paths)  # of each it says one thing, once
    assert {path.name for path in units.iterdir()} == {changed.name, "other.service", "openvino-reranker-mine.timer"}
    assert not environment.parent.exists()
    changed.unlink()
    assert "nothing of ours" in run("uninstall-units").stdout


def test_units_still_enabled_are_not_removed(run: Run, units: Path, tmp_path: Path) -> None:
    run("install-units")
    wants = units / "default.target.wants"
    wants.mkdir()
    (wants / "openvino-reranker.target").symlink_to(units / "openvino-reranker.target")
    before = contents(tmp_path)
    done = run("uninstall-units")
    assert done.returncode == 1
    assert "systemctl --user disable --now openvino-reranker.target" in done.stderr
    assert contents(tmp_path) == before


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
    assert contents(root) == {}


def test_folder_that_cannot_be_written_is_told(run: Run, units: Path) -> None:
    units.parent.mkdir(parents=True)
    units.write_text("a file where a folder should be")
    done = run("install-units")
    assert done.returncode == 1
    assert "cannot write" in done.stderr


def rendered(monkeypatch: pytest.MonkeyPatch, prefix: str, *needed: str) -> str:
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, prefix)
    monkeypatch.setattr(sys, "executable", f"{prefix}/bin/python")
    values = Values(Path("/etc/e"), "127.0.0.1", 18818, "NPU", tuple(Path(each) for each in needed), {78})
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


def test_stamped_file_is_written_whole(tmp_path: Path) -> None:
    file = StampedFile(tmp_path / "folder/unit", "body\n")
    assert file.state() == "absent"
    file.write()
    assert (file.state(), file.untouched()) == ("unchanged", True)
    assert StampedFile(file.path, "new\n").state() == "outdated"
    file.path.write_text(file.path.read_text() + "more\n")
    assert (file.state(), file.untouched()) == ("changed", False)
    assert [each.name for each in file.path.parent.iterdir()] == ["unit"]
