"""What a check has found, in words."""

from attrs import evolve

from lotus_guard.check.finding import Level, fault, note, ok, plain, warning, worst


def test_the_worst_counts() -> None:
    found = [ok("a", "x"), note("b", "x"), warning("c", "x", "y")]
    assert worst([]) is Level.OK
    assert worst(found[:2]) is Level.NOTE
    assert worst([*found, fault("d", "x", "y")]) is Level.FAULT
    assert worst([found[2], found[0]]) is Level.WARNING


def test_what_cannot_be_printed_is_escaped() -> None:
    assert plain("a\x1b[2J\n\u202e\u200bé\ud800") == "a\\x1b[2J\\n\\u202e\\u200bé\\ud800"
    assert evolve(ok("x", "y"), seen="\x07").seen == "\\x07"
