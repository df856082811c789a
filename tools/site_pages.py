"""A hook of mkdocs: what reads well on GitHub and not on the site.

A link out of `docs/` leads nowhere there, and a page is known by its title and not by its file.
In a table, GitHub wants a `|` within code to be escaped, and the site would show the escape.
The search shows what to do before why it is so.
"""

import re
from collections.abc import Iterator, Mapping
from html import escape, unescape
from typing import Any

_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)(?:#[^)\s]*)?\)")
_CODE_IN_ROW = re.compile(r"`[^`\n]*`")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_HEADING = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<td\b")
_TAG = re.compile(r"<[^>]*>")
_LATER = {"facts.md", "architecture.md", "scaling.md", "benchmarks.md", "soak.md"}
"""Pages of whoever changes the guard: their answers come after the others."""
_BY_FILE = re.compile(r"\[`?([\w-]+\.md)`?\]\(([\w-]+\.md)")


def on_page_markdown(markdown: str, *, page: Any, config: Mapping[str, Any], **_: Any) -> str:
    """Put a page as the site needs it, see above."""
    if page.file.src_uri in _LATER:
        page.meta["search"] = {"boost": 0.3}
    return for_the_site(markdown, config)


def for_the_site(markdown: str, config: Mapping[str, Any]) -> str:
    """Name files of the repository without a link, and pages by their titles."""
    titles = dict(_titles(config["nav"]))
    inside = "\n".join(map(_row, _OUT.sub(_named, markdown).split("\n")))
    return _BY_FILE.sub(lambda link: f"[{titles.get(link[1], link[1])}]({link[2]}", inside)


def on_page_content(html: str, **_: Any) -> str:
    """Have each cell of a table know its column: on a phone a row is shown as a block."""
    return _TABLE.sub(_with_columns, html)


def _with_columns(table: re.Match[str]) -> str:
    names = [_TAG.sub("", name).strip() for name in _HEADING.findall(table[0])]
    return _ROW.sub(lambda row: _labelled(row[0], names), table[0])


def _labelled(row: str, names: list[str]) -> str:
    column = iter(names)

    def label(cell: re.Match[str]) -> str:
        name = next(column, "")
        return f'<td data-of="{escape(unescape(name))}"' if name else cell[0]

    return _CELL.sub(label, row)


def _row(line: str) -> str:
    if not line.startswith("|"):
        return line
    return _CODE_IN_ROW.sub(lambda code: code[0].replace("\\|", "|"), line)


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
