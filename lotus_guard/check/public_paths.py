"""What a proxy makes of the paths, and which of its lines does that; asks nobody.

nginx puts what stands behind the port in `proxy_pass` in place of what the `location` names: with
`location /x` and `proxy_pass http://guard/;` the path `/x/get_token` becomes `//get_token`, with
`location /x/` it becomes `/get_token`. Measured with a real nginx (tests/real/test_proxies.py).
"""

from collections.abc import Iterable, Mapping

from attrs import frozen

from lotus_guard.check.finding import Finding, fault, ok, warning

NAME = "public-prefix"


@frozen
class AlteredPath:
    """What became of a path on its way, and what is to be done about it."""

    path: str
    target: str
    """What arrived at the guard."""
    why: str
    wanted: str
    line: str
    """nginx's, as it should be."""
    others: str = ""
    """The same for other proxies."""
    is_served: bool = False
    """Whether the guard serves it all the same."""


def judge_paths(prefix: str, targets: Mapping[str, str], guard: str) -> Finding:
    """Judge what arrived (`targets`, by what was asked for below the public address).

    `prefix` is the path of the public address, without a slash at its end; `guard` is the guard's
    address.
    """
    all_of_them = [
        _altered(prefix, path, target, guard) for path, target in targets.items() if path != target
    ]
    found = [each for each in all_of_them if not each.is_served] or all_of_them
    if not found:
        return ok(NAME, "paths arrive unchanged")
    seen = "; ".join(
        f"{', '.join(f'{each.path} arrives as {each.target}' for each in group)}: {group[0].why}"
        for group in _grouped(found, "why")
    )
    wanted = "; ".join(
        f"in the proxy, {group[0].wanted} "
        f"(nginx: {' '.join(dict.fromkeys(each.line for each in group))}{group[0].others})"
        for group in _grouped(found, "wanted")
    )
    return (warning if found[0].is_served else fault)(NAME, seen, wanted)


def _grouped(found: Iterable[AlteredPath], name: str) -> Iterable[list[AlteredPath]]:
    groups: dict[str, list[AlteredPath]] = {}
    for each in found:
        groups.setdefault(getattr(each, name), []).append(each)
    return groups.values()


def _altered(prefix: str, path: str, target: str, guard: str) -> AlteredPath:
    asked, bare = prefix + path, target.lstrip("/")
    line = f"location {prefix}/ {{ proxy_pass {guard}/; }}"
    others = f"; Caddy: handle_path {prefix}/*; Traefik: stripPrefix {prefix}" if prefix else ""
    if f"/{bare}" == path:
        why = "one slash too many; the guard removes it, lk-jwt-service alone would not serve it"
        behind = "remove one slash behind the port"
        wanted = "end the location with a slash, as proxy_pass does" if prefix else behind
        return AlteredPath(path, target, why, wanted, line, others, is_served=True)
    if path.endswith(bare):
        # A location for one path, and a slash behind the port in its place.
        wanted = "repeat the path behind the port" if prefix else "remove the slash behind the port"
        line = f"location {asked} {{ proxy_pass {guard}{path if prefix else ''}; }}"
        return AlteredPath(path, target, "the path is cut off", wanted, line)
    both = "remove the whole prefix, with a slash at the end of location and proxy_pass"
    if asked.endswith(bare):
        part = "the prefix is not" if target == asked else "only part of the prefix is"
        return AlteredPath(path, target, f"{part} removed", both, line, others)
    if target.endswith(path.lstrip("/")):
        head = target.removesuffix(path.lstrip("/"))
        nothing = "leave only a slash behind the port"
        return AlteredPath(path, target, f"{head} is in front of it", nothing, line)
    return AlteredPath(path, target, "that is not one of the guard's paths", both, line, others)
