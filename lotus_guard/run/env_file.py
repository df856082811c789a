"""Reads a file of settings as systemd reads an `EnvironmentFile=` (systemd.exec(5)).

Imports only the standard library: `deploy/lib` uses it before anything is installed.
"""

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_environment(text: str) -> dict[str, str]:
    """Read the text of an EnvironmentFile; a line that is not an assignment is passed over."""
    found = {}
    for line in text.replace("\\\n", "").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and _NAME.fullmatch(name.strip()) and "\0" not in value:
            found[name.strip()] = _unquoted(value.strip())
    return found


def passed_over(text: str) -> list[int]:
    """The numbers of lines that are neither assignments, comments nor empty.

    Such a line is `export NAME=value`: a shell takes it, systemd does not.
    """
    found, is_continued = [], False
    for number, line in enumerate(text.split("\n"), 1):
        name, equals, _ = line.strip().partition("=")
        is_assignment = equals and _NAME.fullmatch(name.strip())
        if not (is_continued or is_assignment or line.strip()[:1] in ("", "#", ";")):
            found.append(number)
        is_continued = line.endswith("\\")
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r'\\(["\\$`])', r"\1", value[1:-1])
    return re.sub(r"\\(.)", r"\1", value)
