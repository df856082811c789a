"""A build backend that packs one module and two scripts; no setuptools, so a build is quick."""

import zipfile
from pathlib import Path
from typing import Any

NAME = "lotus_guard-0.1"
WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SCRIPT = "#!python\nimport sys\nimport fake_guard\nsys.exit(fake_guard.main())\n"


def build_wheel(directory: str, config: Any = None, metadata: Any = None) -> str:
    name = f"{NAME}-py3-none-any.whl"
    info = f"{NAME}.dist-info"
    contents = {
        "fake_guard.py": Path("fake_guard.py").read_text(),
        f"{NAME}.data/scripts/twistd": SCRIPT,
        f"{NAME}.data/scripts/lotus-guard": SCRIPT,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lotus-guard\nVersion: 0.1\n",
        f"{info}/WHEEL": WHEEL,
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(directory) / name, "w") as wheel:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            wheel.writestr(entry, text)
    return name
