"""The environment file of the units: written once with every setting, from then on only read."""

from collections.abc import Collection, Mapping
from pathlib import Path

from ...npu_worker.model.sources import PACKAGED
from ..setting_table import SETTINGS, Setting
from ..settings import Settings

#: The socket units say where the sockets are; the services get that on their command line.
IN_FILE = tuple(setting for setting in SETTINGS if setting.name != "runtime_dir")
_HEAD = """\
# Settings of the rerank service's units. This file is yours: install-units does not touch it again.
# Uncomment and change what you need, then:
#   {systemctl} restart openvino-reranker.target
# Host, port, device and the folder of a model of your own are in the units too: after changing one, first run
#   openvino-reranker install-units{option} && {systemctl} daemon-reload
# and after changing host or port also
#   {systemctl} restart openvino-reranker-http.socket
"""


def values_in(text: str) -> dict[str, str]:
    """Return our variables that are in force in a file's text; of several assignments the last."""
    values = {}
    variables = {setting.variable for setting in IN_FILE}
    for line in text.split("\n"):
        if (variable := _assigned(line)) in variables:
            values[variable] = _unquoted(line.partition("=")[2].strip())
    return values


def whole_file(settings: Settings, active: Collection[Setting], systemctl: str, option: str) -> str:
    """Return the file's text.

    Args:
        settings: The values.
        active: The settings that are assigned; the others stand in comments with their defaults.
        systemctl: The command that restarts the units.
        option: The option of ``install-units`` that writes these units again.
    """
    parts = [_HEAD.format(systemctl=systemctl, option=option)]
    for setting in IN_FILE:
        line = assignment(setting, getattr(settings, setting.name) if setting in active else setting.default)
        parts.append(f"\n# {setting.help}\n{'' if setting in active else '#'}{line}\n")
    return "".join(parts)


def assignment(setting: Setting, value: object) -> str:
    """Return the line that assigns a value, quoted as systemd.exec(5) reads it."""
    if isinstance(value, Path):
        value = value.absolute()
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
    if any(letter in shown for letter in " \\\"'$`"):
        shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{setting.variable}={shown}"


def from_anywhere(model: str) -> str:
    """Return MODEL with a path made absolute: the services run in another folder, and maybe as another user."""
    path = Path(model).expanduser()
    if model == PACKAGED or not (path.exists() or model.startswith((".", "~"))):
        return model
    return str(path.absolute())


def variables_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return our variables in an environment, as the services can use them."""
    values = {name: environ[name] for name in (setting.variable for setting in IN_FILE) if environ.get(name)}
    if model := values.get("OPENVINO_RERANKER_MODEL"):
        values["OPENVINO_RERANKER_MODEL"] = from_anywhere(model)
    return values


def _assigned(line: str) -> str:
    """Return the variable that a line assigns, or nothing."""
    variable, equals, _ = line.strip().partition("=")
    return variable.strip() if equals and not variable.startswith(("#", ";")) else ""


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == "'" else value
