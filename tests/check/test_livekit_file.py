"""LiveKit's own configuration file."""

from pathlib import Path
from typing import Any

import pytest

from lotus_guard.check.finding import Level
from lotus_guard.check.livekit_file import UnusableFile, read_livekit_file
from lotus_guard.sandbox.stack import KEY
from tests.check.breaks import OTHER_SECRET, Break, F, W, each_is_found, livekit_yaml
from tests.check.checked_stack import CheckedStack


def the_file_has_another_secret(stack: CheckedStack) -> None:
    livekit_yaml(stack, keys={KEY: OTHER_SECRET})


def the_file_is_missing(stack: CheckedStack) -> None:
    stack.livekit_config = stack.directory / "nothing.yaml"


BREAKS: list[tuple[Break, str, Level, str]] = [
    (the_file_has_another_secret, "livekit-config", F, "another secret"),
    (the_file_is_missing, "livekit-config", W, "No such file"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@pytest.mark.parametrize("content", ["[", "", "text", "- list", b"\xff\xfe"])
def test_a_file_that_is_not_livekits(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "livekit.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UnusableFile):
        read_livekit_file(path)


def test_livekits_file_has_livekits_defaults(tmp_path: Path) -> None:
    path = tmp_path / "livekit.yaml"
    path.write_text("port: 7880\nkeys:\n  k: s\n")
    file = read_livekit_file(path)
    assert (file.auto_create, file.urls, file.api_key, file.keys) == (True, (), "", {"k": "s"})
    path.write_text("room: {auto_create: false}\nwebhook: {api_key: k, urls: [http://x/y]}\n")
    file = read_livekit_file(path)
    assert (file.auto_create, file.urls, file.api_key) == (False, ("http://x/y",), "k")
    assert "secret" not in repr(file)
