"""Links between pages, as GitHub follows them: to a heading as well."""

import re

import pytest

from tests.real.processes import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
LINK = re.compile(r"\]\(([^)\s#]*)#([^)\s]+)\)")


def slugs(text: str) -> set[str]:
    """The anchors that GitHub gives a page."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", outside, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        alike = [slug, *(f"{slug}-{number}" for number in range(1, len(found) + 1))]
        found.add(next(each for each in alike if each not in found))
    return found


def test_each_anchor_is_a_heading() -> None:
    lost, count = [], 0
    for page in PAGES:
        for path, anchor in LINK.findall(page.read_text()) if page.exists() else []:
            target = page.parent / path if path else page
            if "://" in path or target.suffix != ".md":
                continue
            count += 1
            if not target.exists() or anchor not in slugs(target.read_text()):
                lost.append((page.name, path, anchor))
    assert lost == []
    assert count > 10


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("# LiveKit: a track", "livekit-a-track"),
        ("## `make run`, and [more](x.md)", "make-run-and-more"),
        ("### Ports & names", "ports--names"),
        ("#No heading", None),
    ],
)
def test_how_headings_become_anchors(heading: str, slug: str | None) -> None:
    assert slugs(heading) == ({slug} if slug else set())


def test_the_second_heading_of_a_name_gets_a_number() -> None:
    assert slugs("# A\n\n```\n# no\n```\n## A\n") == {"a", "a-1"}
