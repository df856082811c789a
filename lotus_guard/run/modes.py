"""The settings that say which rules are asked, and which of them observe only."""

from lotus_guard.enforce.credentials import Unusable, fault_line
from lotus_guard.enforce.room_pass import LIVE
from lotus_guard.rules import RULES, STANDING
from lotus_guard.rules.decision import REQUEST
from lotus_guard.run.parsers import one_of, shown, words
from lotus_guard.run.setting import OUR_PREFIX, Texts, Variable

OBSERVABLE = (*(rule.name for rule in (*STANDING, *RULES)), LIVE)

MODE = Variable(
    f"{OUR_PREFIX}MODE",
    "enforce",
    "enforce, or observe: decide and record everything, change nothing",
)
OBSERVE = Variable(
    f"{OUR_PREFIX}OBSERVE",
    "",
    f"rules that only observe: any of {', '.join(OBSERVABLE)}; separated by commas",
)
STANDING_SETTINGS = {
    rule.name: Variable(f"{OUR_PREFIX}{rule.setting}", rule.usual, rule.help) for rule in STANDING
}
"""What switches each rule that holds in every room, by the rules' names."""
_MODES = "enforce or observe"
_STANDING_MODE = one_of("on", "off", "observe")


def read_standing(texts: Texts) -> frozenset[str]:
    """Which of the rules that hold in every room are asked at all; raises Unusable."""
    modes = {
        rule: _STANDING_MODE(each.name, texts[each.name])
        for rule, each in STANDING_SETTINGS.items()
    }
    return frozenset(rule for rule, mode in modes.items() if mode != "off")


def read_observed(texts: Texts) -> frozenset[str]:
    """Which of the rules, the live loop and the requests observe only; raises Unusable."""
    mode, named = texts[MODE.name], words(OBSERVE.name, texts[OBSERVE.name])
    if mode == "observe":
        return frozenset({*OBSERVABLE, REQUEST})
    faults = []
    if mode != "enforce":
        faults.append(fault_line(MODE.name, f"found {shown(mode)}", _MODES))
    unknown = ", ".join(sorted(named - set(OBSERVABLE)))
    if unknown:
        wanted = f"any of {', '.join(OBSERVABLE)}"
        faults.append(fault_line(OBSERVE.name, f"found {shown(unknown)}", wanted))
    if faults:
        raise Unusable(*faults)
    standing = STANDING_SETTINGS.items()
    return named | {rule for rule, each in standing if texts[each.name] == "observe"}
