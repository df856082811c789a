"""The settings that say which rules are asked, and which of them observe only."""

from lotus_guard.enforce.credentials import Unusable, fault_line
from lotus_guard.enforce.room_pass import LIVE
from lotus_guard.rules import RULES, STANDING
from lotus_guard.rules.decision import REQUEST
from lotus_guard.rules.members import Members
from lotus_guard.run.parsers import one_of, shown, words
from lotus_guard.run.setting import OUR_PREFIX, Texts, Variable

OBSERVABLE = (*(rule.name for rule in (*STANDING, *RULES)), LIVE)

MODE = Variable(
    f"{OUR_PREFIX}MODE",
    "enforce",
    "observe: decide, record and count everything, change nothing",
)
OBSERVE = Variable(
    f"{OUR_PREFIX}OBSERVE",
    "",
    f"rules that observe only: any of {', '.join(OBSERVABLE)}; with commas",
)
MEMBERS = Variable(
    f"{OUR_PREFIX}MEMBERS",
    "on",
    "calls are for the members of their room: on, off, or observe (record it only)",
)
_MODES = "enforce or observe"
_MEMBERS_MODE = one_of("on", "off", "observe")


def read_members(texts: Texts) -> bool:
    """Whether the rule `members` is asked at all; raises Unusable."""
    return _MEMBERS_MODE(MEMBERS.name, texts[MEMBERS.name]) != "off"


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
    return named | {Members.name} if texts[MEMBERS.name] == "observe" else named
