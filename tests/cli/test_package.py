"""What ``pip install`` puts on a machine, as opposed to what a checkout holds."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from openvino_reranker.tests.processes import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel made from the sdist, as an index's users may do, where nothing of the checkout is near."""
    made = tmp_path_factory.mktemp("wheel")
    # Built from a copy: setuptools writes beside what it builds.
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    source = made / "source"
    for name in filter(None, tracked.decode().split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            (source / name).write_bytes((ROOT / name).read_bytes())
    _build("sdist", source, made)
    with tarfile.open(next(made.glob("*.tar.gz"))) as sdist:
        sdist.extractall(made / "unpacked", filter="data")
    (unpacked,) = (made / "unpacked").iterdir()
    _build("wheel", unpacked, made)
    with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
        wheel.extractall(made / "site")
    return made / "site"


def _build(what: str, source: Path, into: Path) -> None:
    build = f"from setuptools.build_meta import build_{what}; build_{what}({str(into)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)


def test_the_wheel_holds_every_package_and_data_file(installed: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    shipped = {
        name
        for name in tracked
        if (name.endswith(".py") or name.startswith("systemd/") or name == "py.typed")
        and not name.startswith(("benchmarks/", "examples/", "tests/"))
    }
    found = {
        str(path.relative_to(installed / "openvino_reranker"))
        for path in (installed / "openvino_reranker").rglob("*")
        if path.is_file()
    }
    assert shipped - found == set()
    assert not any(name.startswith("tests/") for name in found)


#: Imports every module and asks every command for its help.
START = """
import contextlib, importlib, io, pkgutil, sys
import openvino_reranker
from openvino_reranker.cli.main import COMMANDS, main
for module in pkgutil.walk_packages(openvino_reranker.__path__, "openvino_reranker."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:  # the framework that an adapter is for, and Ray
        framework = ".client.adapters." in module.name or error.name == "ray"
        if error.name.startswith("openvino_reranker") or not framework:
            raise
for command in COMMANDS:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:
        main([command.name, "--help"])
    assert printed.getvalue().startswith(f"usage: openvino-reranker {command.name}"), command.name
print(openvino_reranker.__file__)
"""


def test_every_module_and_command_starts_from_the_wheel(installed: Path) -> None:
    # -P and -S: neither the folder it is started in nor the checkout's own editable install are found.
    environment = {**os.environ, "PYTHONPATH": f"{installed}:{sysconfig.get_path('purelib')}"}
    command = [sys.executable, "-P", "-S", "-c", START]
    done = subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{installed}/openvino_reranker/__init__.py\n"
