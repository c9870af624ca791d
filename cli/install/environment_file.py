"""The environment file of the units: every setting, in force or as a comment, and what a person wrote beside them."""

from collections.abc import Collection, Mapping
from pathlib import Path

from ...npu_worker.model.sources import PACKAGED
from ..settings import SETTINGS, Setting, Settings

#: The socket units say where the sockets are; services are told on their command line.
IN_FILE = tuple(each for each in SETTINGS if each.name != "runtime_dir")
#: Bytes that are no UTF-8 come back as they were.
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
_HEAD = """\
# Settings of the rerank service's units. Uncomment what shall differ, then:
#   {systemctl} restart openvino-reranker.target
# Host, port and device are in the units too: after a change of one of them run before that
#   openvino-reranker install-units{option} && {systemctl} daemon-reload
# and after a change of host or port also
#   {systemctl} restart openvino-reranker-http.socket
"""


def values_in(text: str) -> dict[str, str]:
    """Return our variables that are in force in a file's text; of several assignments the last."""
    values = {}
    known = {each.variable for each in IN_FILE}
    for line in text.split("\n"):
        if (variable := _assigned(line)) in known:
            values[variable] = _unquoted(line.partition("=")[2].strip())
    return values


def whole_file(settings: Settings, active: Collection[Setting], systemctl: str, option: str) -> str:
    """Return the file as we write it.

    Args:
        settings: The values.
        active: What stands in it in force; the others are comments with their defaults.
        systemctl: The command that restarts the units.
        option: What ``install-units`` takes to write them again.
    """
    parts = [_HEAD.format(systemctl=systemctl, option=option)]
    for setting in IN_FILE:
        line = _line(setting, getattr(settings, setting.name) if setting in active else setting.default)
        parts.append(f"\n# {setting.help}\n{'' if setting in active else '#'}{line}\n")
    return "".join(parts)


def with_values(text: str, settings: Settings, given: Collection[Setting]) -> str:
    """Return a person's file with the lines of these settings changed, and every other line as it is.

    Args:
        text: The file.
        settings: The values.
        given: The settings that shall be in force; one that has its value there already is left alone.
    """
    lines = text.removesuffix("\n").split("\n")
    found = values_in(text)
    for setting in IN_FILE:
        value = getattr(settings, setting.name)
        if setting not in given or _means(setting, found.get(setting.variable), value):
            continue
        in_force = [place for place, line in enumerate(lines) if _assigned(line) == setting.variable]
        comments = [place for place, line in enumerate(lines) if line.startswith(f"#{setting.variable}=")]
        if in_force or comments:
            lines[in_force[-1] if in_force else comments[0]] = _line(setting, value)
        else:
            lines += [f"# {setting.help}", _line(setting, value)]
    return "\n".join(lines) + "\n"


def from_anywhere(model: str) -> str:
    """Return MODEL with a path made absolute: the services run in another folder, and maybe as another user."""
    path = Path(model).expanduser()
    if model == PACKAGED or not (path.exists() or model.startswith((".", "~"))):
        return model
    return str(path.absolute())


def given_here(environ: Mapping[str, str]) -> dict[str, str]:
    """Return our variables in the environment of ``install-units``, as the services can use them."""
    values = {each.variable: environ[each.variable] for each in IN_FILE if environ.get(each.variable)}
    if model := values.get("OPENVINO_RERANKER_MODEL"):
        values["OPENVINO_RERANKER_MODEL"] = from_anywhere(model)
    return values


def _assigned(line: str) -> str:
    """Return the variable that a line assigns, or nothing."""
    variable, equals, _ = line.strip().partition("=")
    return variable.strip() if equals and not variable.startswith(("#", ";")) else ""


def _means(setting: Setting, text: str | None, value: object) -> bool:
    """Return whether a text in the file is this value, in whatever words."""
    try:
        return bool(text) and setting.read(str(text)) == value
    except ValueError:
        return False


def _line(setting: Setting, value: object) -> str:
    if isinstance(value, Path):
        value = value.absolute()
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
    if any(letter in shown for letter in " \\\"'$`"):
        shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{setting.variable}={shown}"


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == "'" else value
