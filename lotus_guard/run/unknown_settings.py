"""Names in the environment that look like settings of the guard and are none."""

from collections.abc import Iterable, Sequence

from lotus_guard.enforce.credentials import fault_line
from lotus_guard.run.setting import OUR_PREFIX

ALIKE = 0.7
"""How alike two names are, from 0 to 1, before one is taken for the other misspelt."""


def unknown_settings(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Write a line for each name with our prefix that is not known, and which one may be meant."""
    ours = (name for name in sorted(names) if name.startswith(OUR_PREFIX))
    return [_unknown(name, known) for name in ours if name not in known]


def _unknown(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # rarely needed, so no guard has it in memory

    # What all names begin with would make any two of them alike.
    ends = {each.removeprefix(OUR_PREFIX): each for each in known}
    close = get_close_matches(name.removeprefix(OUR_PREFIX), ends, 1, ALIKE)
    if close:
        return f"{name}: unknown setting (did you mean {ends[close[0]]}?)"
    return fault_line(name, "unknown setting", "one that `twistd lotus-guard --help` lists")
