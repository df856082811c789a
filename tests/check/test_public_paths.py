"""Which line of a proxy is wrong, by the paths that arrive."""

import pytest

from lotus_guard.check.finding import Level
from lotus_guard.check.public_paths import judge_paths
from tests.check.breaks import Break, F, each_is_found
from tests.check.checked_stack import CheckedStack


def the_prefix_stays(stack: CheckedStack) -> None:
    stack.public.strips = False


BREAKS: list[tuple[Break, str, Level, str]] = [
    (the_prefix_stays, "public-prefix", F, "/livekit/jwt/get_token"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


GUARD = "http://127.0.0.1:8070"


def test_paths_that_arrive_need_no_line() -> None:
    found = judge_paths("/x", {"/get_token": "/get_token"}, GUARD)
    assert (found.level, found.wanted) == (Level.OK, "")


@pytest.mark.parametrize(
    ("prefix", "path", "target", "level", "words"),
    [
        ("/x", "/get_token", "//get_token", "warning", "end the location with a slash"),
        ("", "/get_token", "//get_token", "warning", "remove one slash behind the port"),
        ("/x", "/get_token", "/x/get_token", "fault", "location /x/ { proxy_pass"),
        ("/x/y", "/get_token", "/y/get_token", "fault", "location /x/y/ { proxy_pass"),
        ("", "/sfu/get", "/", "fault", f"location /sfu/get {{ proxy_pass {GUARD}; }}"),
        ("", "/sfu/get", "//get", "fault", f"location /sfu/get {{ proxy_pass {GUARD}; }}"),
        ("/x", "/sfu/get", "/", "fault", f"location /x/sfu/get {{ proxy_pass {GUARD}/sfu/get; }}"),
        ("", "/sfu/get", "/a/sfu/get", "fault", "leave only a slash behind the port"),
        ("/x", "/sfu/get", "/asfu/get", "fault", "leave only a slash behind the port"),
        ("/x", "/sfu/get", "/index.php", "fault", f"location /x/ {{ proxy_pass {GUARD}/; }}"),
    ],
)
def test_the_wrong_line_is_named(
    prefix: str, path: str, target: str, level: str, words: str
) -> None:
    found = judge_paths(prefix, {path: target, "/ok": "/ok"}, GUARD)
    assert found.level == level
    assert f"{path} arrives as {target}" in found.seen
    assert words in found.wanted


def test_a_path_that_is_lost_comes_before_one_that_is_served() -> None:
    found = judge_paths("/x", {"/get_token": "//get_token", "/sfu/get": "/x/sfu/get"}, GUARD)
    assert found.level is Level.FAULT
    assert "/get_token arrives" not in found.seen
