"""What `make run` prints: what runs where, and lines to paste."""

import json
from typing import Any

from attrs import frozen

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.rule import Rule
from lotus_guard.sandbox.life import PLACES
from lotus_guard.sandbox.stack import ADMIN_TOKEN, OPEN, Addresses, room_of

_DECODE = (
    "python3 -c 'import base64,json,sys; "
    'print(base64.b64decode(json.load(sys.stdin)["jwt"].split(".")[1]+"==").decode())\''
)


@frozen
class Entrances:
    """How one gets at a guard that runs on the sandbox."""

    guard: str
    """URL of the public port."""
    operators: str | None
    """URL of the operators' port; None where there is none that a browser could open."""
    command: str = "lotus-guard"
    """How the command line is called."""
    is_quiet: bool = True
    """Whether nobody comes and goes in the rooms."""


def welcome(entrances: Entrances, addresses: Addresses, rules: Rules = RULES) -> str:
    """Make the text: what runs where, with lines to paste."""
    guard = entrances.guard
    rooms = ", ".join([f"{OPEN} (no policy)", *(f"{room_of(r)} ({_words(r)})" for r in rules)])
    more = _life(entrances) + _operators(entrances, rules)
    twice = '\'{"room":"!two:sandbox","room":"!open:sandbox"}\''
    return f"""
The guard is at {guard}, in front of a sandbox: nothing here is real.{more}
Set a room's rules in a browser: {guard}/panel/
  homeserver {addresses.synapse}, access token {ADMIN_TOKEN}, room {room_of(rules[0])}
The sandbox's parts:
  lk-jwt-service {addresses.authorization}
  LiveKit        {addresses.livekit}
  Synapse        {addresses.synapse}
Rooms to try things in: {rooms}.

An open room: the token comes back as lk-jwt-service made it.
{_ask(guard, OPEN, "alice")}{"".join(_trial(guard, rule) for rule in rules)}
An ambiguous body (the same field twice): 400.
  curl -s {guard}/sfu/get -d {twice}
The open room through the homeserver, which forwards the request (MSC4195).
  {_by_homeserver(addresses)}

Ctrl-C stops it.
"""


def _life(entrances: Entrances) -> str:
    if entrances.is_quiet:
        return ""
    return "\nMade-up people come and go in their rooms; SANDBOX=--quiet-sandbox make run has none."


def _operators(entrances: Entrances, rules: Rules) -> str:
    """The lines about the status page and the command line, which both need that port."""
    if entrances.operators is None:
        return ""
    command, there = entrances.command, f"--guard {entrances.operators}"
    whom = f"@carol:sandbox '{room_of(rules[0])}'" if entrances.is_quiet else f"'{PLACES[0].room}'"
    return f"""
Status page: {entrances.operators}/
Command line:
  {command} rooms {there}
  {command} explain {whom} {there}
Why was somebody refused? Their answer has a reference:
  {command} explain REFERENCE {there}"""


def _ask(guard: str, room: str, name: str) -> str:
    openid = f'"access_token":"openid-{name}","matrix_server_name":"sandbox"'
    body = f'{{"room":"{room}","device_id":"PHONE","openid_token":{{{openid}}}}}'
    return f"  curl -s {guard}/sfu/get -d '{body}'"


def _trial(guard: str, rule: Rule[Any]) -> str:
    after = f" | {_DECODE}" if rule.trial.is_grant_shown else ""
    lines = [f"{_ask(guard, room_of(rule), name)}{after}" for name in rule.trial.askers]
    return "\n".join([f"\n{rule.trial.text}", *lines])


def _words(rule: Rule[Any]) -> str:
    return ", ".join(rule.show(rule.read(rule.trial.content).policy).words)


def _by_homeserver(addresses: Addresses) -> str:
    """The line that asks for a token by the homeserver."""
    sent = {
        "url": addresses.livekit.replace("http://", "ws://"),
        "room_id": OPEN,
        "slot_id": "m.call#ROOM",
        "member_id": "one",
    }
    ask = f"curl -s -H 'Authorization: Bearer alice' {addresses.synapse}{CLIENT_PATHS[1]} -d"
    return f"{ask} '{json.dumps(sent)}'"
