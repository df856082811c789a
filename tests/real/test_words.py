"""Refusals in the language of the client, on the real stack."""

from tests.real.processes import http
from tests.real.stack import Stack


def test_a_browser_that_is_set_to_german_reads_german(stack: Stack) -> None:
    room = stack.room()
    stack.set_policy(room, "m.room.join_rules", {"join_rule": "invite"})
    (stranger,) = stack.users(1)
    url = stack.guard.url + "/get_token"
    told = {}
    for language in ("de-AT,de;q=0.9,en-US;q=0.8,en;q=0.7", "en-GB,en", "fr"):
        body = stack.request(stranger, room, "/get_token", outside=True)
        headers = {"Content-Type": "application/json", "Accept-Language": language}
        answer = http("POST", url, body, headers)
        assert (answer.status, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
        sentence, _, reference = answer.json()["error"].rpartition(" (")
        decision = answer.headers["Lotus-Guard-Decision"]
        assert reference in (f"Reference: {decision})", f"Referenz: {decision})")
        told[language[:2]] = sentence
    english = "You are not a member of this room."
    assert told == {"de": "Du bist nicht in diesem Raum.", "en": english, "fr": english}
    page = http("GET", stack.guard.url + "/", headers={"Accept-Language": "de"})
    assert '<html lang="de">' in page.body.decode()
