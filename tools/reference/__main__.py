"""`python -m tools.reference [--check]`: see the package."""

import sys

from tools.reference import COMMAND, outdated, write

if sys.argv[1:] == ["--check"]:
    if found := outdated():
        sys.exit(f"docs/{', docs/'.join(found)}: not what the code says. Run: {COMMAND}")
elif sys.argv[1:]:
    sys.exit(f"{__doc__}")
else:
    write()
