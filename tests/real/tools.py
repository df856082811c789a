"""Programs that a test needs: skipped where one is missing, a failure where nothing may be."""

import os
import shutil

import pytest


def needed(name: str, source: str) -> str:
    """Find a program on PATH."""
    found = shutil.which(name)
    if found is None:
        sentence = f"{name} is missing: install {source}"
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found
