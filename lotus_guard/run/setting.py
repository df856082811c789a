"""How a setting is declared, once: its variables, their defaults and meanings, its parser."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import Attribute, field, fields, frozen

OUR_PREFIX = "LOTUS_GUARD_"
_KEY = "setting"

Texts = Mapping[str, str]
"""The environment, with the default of each of our variables that is not set."""


@frozen
class Variable:
    """One variable of the environment."""

    name: str
    default: str
    help: str
    is_secret: bool = False
    """Whether its value must not be shown."""


@frozen
class Setting:
    """What one field of the configuration is made of."""

    variables: tuple[Variable, ...]
    read: Callable[[Texts], Any]
    """Gives the value; raises Unusable with a line for each fault."""


def setting(name: str, default: str, text: str, read: Callable[[str, str], Any]) -> Any:
    """Declare a field that one of our own variables gives; `read` gets its full name and its text.

    `text` says in the help what it is for.
    """
    variable = Variable(OUR_PREFIX + name, default, text)
    return composed(lambda texts: read(variable.name, texts[variable.name]), variable)


def composed(read: Callable[[Texts], Any], *variables: Variable, **options: Any) -> Any:
    """Declare a field that several variables give; `options` are those of `attrs.field`."""
    return field(metadata={_KEY: Setting(variables, read)}, **options)


def settings_of(config: type[Any]) -> dict[str, Setting]:
    """List the settings that a class declares, by field."""
    declared: tuple[Attribute[Any], ...] = fields(config)
    return {each.name: each.metadata[_KEY] for each in declared}


def variables_of(config: type[Any]) -> list[Variable]:
    """List all variables that a class declares."""
    return [each for setting in settings_of(config).values() for each in setting.variables]


def help_of(variables: Iterable[Variable]) -> str:
    """List variables with their defaults and meanings, for `--help`."""
    lines = []
    for each in variables:
        default = f" [{each.default}]" if each.default else ""
        lines.append(f"  {each.name}{default}\n      {each.help}")
    return "\n".join(lines)


class Faulty(Exception):
    """The environment does not make a configuration; `faults` has a line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def texts_of(config: type[Any], environment: Mapping[str, str]) -> Texts:
    """Fill in the defaults."""
    return {each.name: each.default for each in variables_of(config)} | dict(environment)
