"""The version of this release: written here, and read from here by `setup.py` and everyone else."""

from typing import Final

VERSION: Final = "0.1.0"
