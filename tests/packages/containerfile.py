"""Carries a Containerfile out without a container engine: each RUN in a Debian of its own.

Knows what ours uses, and refuses the rest. The base image stands as debootstrap's minbase, which is
what the debian:*-slim images are made from.
"""

import json
import os
import shlex
import shutil
from pathlib import Path

from attrs import define, evolve, field, frozen

from tests.packages.roots import CERTIFICATE, PATH, Entry, Root
from tests.packages.tools import run

BASES = {"docker.io/library/debian:bookworm-slim"}
WITHOUT_EFFECT = {"EXPOSE", "LABEL", "VOLUME"}
PIP = {
    name: CERTIFICATE if name == "PIP_CERT" else value
    for name, value in os.environ.items()
    if name.startswith("PIP_")
}
"""How this machine reaches the registry."""


@frozen
class Image:
    """A stage: its files, and how it runs."""

    root: Root
    env: dict[str, str] = field(factory=dict)
    user: str = "0:0"
    folder: str = "/"
    entrypoint: list[str] = field(factory=list)
    health: list[str] = field(factory=list)
    stop_signal: str = "SIGTERM"

    def entry(self) -> Entry:
        """Return how a container of it is entered."""
        return Entry(user=self.user, env={"PATH": PATH, **self.env}, folder=self.folder)


@define
class Builder:
    """Builds in a folder, from a context."""

    context: Path
    folder: Path
    stages: dict[str, Image] = field(factory=dict)

    def build(self, text: str) -> Image:
        """Carry all instructions out; gives the last stage."""
        image: Image | None = None
        name = ""
        for keyword, rest in instructions(text):
            if keyword == "FROM":
                base, _, name = (part.strip() for part in rest.partition(" AS "))
                image = self._start(base)
            else:
                assert image is not None, "a Containerfile starts with FROM"
                image = self._do(image, keyword, rest)
            self.stages[name] = image
        assert image is not None
        return image

    def _start(self, base: str) -> Image:
        path = self.folder / f"stage-{len(list(self.folder.glob('stage-*')))}"
        if base in self.stages:
            stage = self.stages[base]
            run(["cp", "--archive", "--link", str(stage.root.path), str(path)])
            return evolve(stage, root=Root(path))
        assert base in BASES, f"no image {base} here; known: {BASES}"
        return Image(Root.unpack(path))

    def _do(self, image: Image, keyword: str, rest: str) -> Image:
        if keyword == "RUN":
            entry = evolve(image.entry(), env={**image.env, **PIP})
            image.root.run(["sh", "-c", rest], entry)
        elif keyword == "COPY":
            self._copy(image, rest)
        elif keyword == "ENV":
            pairs = (word.partition("=") for word in shlex.split(rest))
            return evolve(image, env={**image.env, **{key: value for key, _, value in pairs}})
        elif keyword == "HEALTHCHECK":
            return evolve(image, health=json.loads(rest.partition("CMD")[2]))
        elif keyword == "ENTRYPOINT":
            return evolve(image, entrypoint=json.loads(rest))
        elif keyword == "USER":
            return evolve(image, user=rest)
        elif keyword == "WORKDIR":
            return evolve(image, folder=rest)
        elif keyword == "STOPSIGNAL":
            return evolve(image, stop_signal=rest)
        else:
            assert keyword in WITHOUT_EFFECT, f"{keyword} is not known here"
        return image

    def _copy(self, image: Image, rest: str) -> None:
        """COPY as the engines do it: a folder's content, or files into what ends with a slash."""
        words = rest.split()
        source = self.context
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).removeprefix("--from=")].root.path
        *names, target = words
        inside = image.root.path / target.lstrip("/")
        for name in names:
            path = source / name.lstrip("/")
            if path.is_dir():
                assert len(names) == 1, "of several folders it would mix the contents"
                shutil.copytree(path, inside, symlinks=True, dirs_exist_ok=True)
            else:
                where = inside / path.name if target.endswith("/") else inside
                where.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, where)


def instructions(text: str) -> list[tuple[str, str]]:
    """Split a Containerfile into keywords and what follows them."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(keyword, rest.strip()) for keyword, _, rest in found]


def copied(text: str) -> list[str]:
    """List what is copied from the context."""
    found: list[str] = []
    for keyword, rest in instructions(text):
        if keyword == "COPY" and "--from=" not in rest:
            found += rest.split()[:-1]
    return found
