"""Text that strangers wrote, made fit for a log line or a terminal."""

from reprlib import Repr

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 100


def printable(text: object, most: int = 200) -> str:
    """Show a text on one line: what is not printable is escaped, what is too long is cut.

    Room ids, user ids and the like are free text of clients: line breaks would forge log lines,
    escape sequences drive a terminal, marks of direction turn what stands beside them around.
    """
    text = str(text)
    if len(text) <= most and text.isprintable():  # nearly always
        return text
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1]
    )
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def shown(value: object) -> str:
    """Write a value of an event for a complaint: much as Python would, at most 40 letters.

    Of what is nested deeply or long only the beginning is looked at: strangers wrote it.
    """
    return f"{_SHORT.repr(value):.40}"
