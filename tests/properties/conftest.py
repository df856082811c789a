"""The Go oracle, built once for all tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.properties.oracle import Oracle

SOURCE = Path(__file__).parents[1] / "oracle" / "main.go"


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """Skip where Go is missing, or fail where it must be there."""
    if shutil.which("go") is None:
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("Go is missing: the oracle cannot be built")
        pytest.skip("Go is missing: the oracle cannot be built")
    binary = tmp_path_factory.mktemp("oracle") / "oracle"
    subprocess.run(["go", "build", "-o", str(binary), str(SOURCE)], check=True)
    made = Oracle(binary)
    yield made
    made.close()
