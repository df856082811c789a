"""A hook of mkdocs: links of the pages that lead out of `docs/`, which the site does not have."""

import re
from typing import Any

_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the file of the repository instead; README's place is taken by the first page."""
    return _OUT.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    if path == "README.md":
        return f"[{text}](index.md)"
    if path in text:
        return text
    return f"{text} (`{path}` in the repository)"
