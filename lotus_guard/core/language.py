"""Which of the languages that we have a client wants, by its `Accept-Language` (RFC 9110, 12.5.4).

    Accept-Language: de-AT, de;q=0.9, en;q=0.5

Each entry is looked up, the most wanted one first, and with less and less behind it: `de-AT` finds
`de` (RFC 4647, 3.4). What is no entry counts as nothing. The header is a client's, so only its
beginning is read.
"""

import re
from collections.abc import Container

MOST_HEADER = 256
"""Bytes of the header that are read; browsers send fewer than 100."""
MOST_RANGES = 16
"""Entries of it that are looked at."""
ANY = "*"
_RANGE = re.compile(
    r"[ \t]*(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)[ \t]*"
    r"(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
"""An entry in lower case: a tag or `*`, and how much it is wanted."""


def choose(header: bytes, languages: Container[str], default: str) -> str:
    """Choose one of these languages, which are tags in lower case; never raises.

    `default` where nothing fits, and where any language would do.
    """
    refused, wanted = set[str](), list[tuple[float, str]]()
    text = header[:MOST_HEADER].decode("latin-1").lower()
    for entry in text.split(",", MOST_RANGES)[:MOST_RANGES]:
        found = _RANGE.fullmatch(entry)
        if found and float(found[2] or 1):
            wanted.append((float(found[2] or 1), found[1]))
        elif found:
            refused.add(found[1])
    for _, tag in sorted(wanted, key=lambda each: -each[0]):
        language = default if tag == ANY else _look_up(tag, languages)
        if language is not None and language not in refused:
            return language
    return default


def _look_up(tag: str, languages: Container[str]) -> str | None:
    return next((each for each in shortened(tag) if each in languages), None)


def shortened(tag: str) -> list[str]:
    """A tag, and what is left of it with less and less behind it: `de-at`, `de`."""
    parts = tag.split("-")
    return ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]
