"""A hook of mkdocs: links of the pages that read well on GitHub and not on the site.

A link out of `docs/` leads nowhere there, and a page is known by its title and not by its file.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(?:#[^)\s]*)?\)")
_BY_FILE = re.compile(r"\[`?([\w-]+\.md)`?\]\(([\w-]+\.md)")


def on_page_markdown(markdown: str, *, config: Mapping[str, Any], **_: Any) -> str:
    """Name files of the repository without a link, and pages by their titles."""
    titles = dict(_titles(config["nav"]))
    inside = _OUT.sub(_named, markdown)
    return _BY_FILE.sub(lambda link: f"[{titles.get(link[1], link[1])}]({link[2]}", inside)


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    if path == "README.md":
        return f"[{text}](index.md)"
    return text if path in text else f"{text} (`{path}` in the repository)"


def _titles(entries: Any) -> Iterator[tuple[str, str]]:
    """Each page of the navigation, and what it is called there."""
    for entry in entries:
        for title, page in entry.items():
            if isinstance(page, str):
                yield page, title
            else:
                yield from _titles(page)
