"""Writes the pages of the reference in `docs/` from the code: `python -m tools.reference`.

With `--check` it writes nothing, and fails where a page is not what the code says.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.reference.messages import messages_page
from tools.reference.metrics import metrics_page
from tools.reference.settings import settings_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND = "make reference"

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "messages.md": messages_page,
}


def outdated() -> list[str]:
    """List the pages that are not what the code says."""
    return [name for name, page in PAGES.items() if _read(DOCS / name) != page()]


def write() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
