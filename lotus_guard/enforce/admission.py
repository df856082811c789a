"""One token answer, judged from start to end.

We judge the *answer*: the LiveKit room and the identity inside the token that upstream signed,
never what the request claims. Deadlines count from upstream's answer on, because a client can make
upstream slow.
"""

from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Identity, RoomId
from lotus_guard.core.seats import Occupancy, Person
from lotus_guard.core.token import KeyPair, NotOurs, Token, Unfit, begins, open_token
from lotus_guard.core.wire import TokenRequest
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.finding import Finding, Findings
from lotus_guard.enforce.introduction import Excess, Introductions
from lotus_guard.enforce.issuing import Issuing, Pass
from lotus_guard.enforce.judge import Judge
from lotus_guard.enforce.ports import Bug, Outage, Reason, Records
from lotus_guard.enforce.recipient import Asked, Recipient
from lotus_guard.enforce.seating import SeatDesk
from lotus_guard.rules.limit import Limit
from lotus_guard.rules.rule import Facts, Refuse, Rule
from lotus_guard.rules.rulings import refused

MOST_ISSUED = 20_000
"""Of so many identities the last token's time is known."""

_log = Logger()


@frozen
class Refusal:
    """A rule refuses the token."""

    refuse: Refuse
    decision: str = ""
    """The id of the decision."""


Answer = Pass | Refusal


@define(eq=False)
class Issued:
    """What others are told of the tokens that are asked for and go out."""

    on_issued: Callable[[RoomId], None] = lambda _room: None
    """Told of each room that a token is issued for."""
    begins: LruDict[Identity, int] = field(factory=lambda: LruDict(MOST_ISSUED))
    """From when on the last token that was given to each identity is valid (`nbf`)."""
    on_token: Callable[[Token, Pass], None] = lambda _token, _passed: None
    """Told of each token of upstream's, and of what goes out in its place."""

    def note(self, token: Token, passed: Pass) -> None:
        """Take note of a token that goes out."""
        begin = begins(token)
        if begin is not None:
            last = self.begins.peek(token.identity)
            self.begins.put(token.identity, max(begin, last or begin))
        self.on_token(token, passed)


@define(eq=False)
class Admission:
    """Judges tokens by the policies of the room that they are for."""

    keys: Credential[KeyPair]
    introductions: Introductions
    judge_rules: Judge
    desk: SeatDesk
    issuing: Issuing
    records: Records
    seconds: float
    """How long each rule may keep a finished upstream answer waiting."""
    issued: Issued = field(factory=Issued)

    def ahead(self, request: TokenRequest) -> None:
        """Begin the look-ups for a request while upstream works on it."""
        if request.room is not None:
            self.judge_rules.ahead(request.room, request.user)

    async def judge(
        self, encoded: str, asked: Asked | None, arrived: float, shed_reason: Outage | None = None
    ) -> Answer:
        """Judge an issued token; `arrived` is when its request came in (seconds of `now`).

        Where the guard has more to do than it can, `shed_reason` says so: the token goes out
        unguarded, and is only learnt from.

        Raises Unfit, and CancelledError when the client has gone.
        """
        try:
            token = self._open(encoded)
            answer = await self._judge(token, asked, arrived, shed_reason)
            if isinstance(answer, Pass):
                self.issued.note(token, answer)
            return answer
        except NotOurs as why:
            if asked is not None and asked.request.elsewhere:
                self.records.passed_elsewhere()
                return Pass()
            return self._pass_unjudged(Outage(Reason.SECRET, str(why)))
        except (CancelledError, Unfit):
            raise
        except Exception:
            _log.failure("Could not check a token")
            return self._pass_unjudged(Bug())

    def _open(self, encoded: str) -> Token:
        """Verify and read a token, by what is in the files by now if need be; raises NotOurs."""
        used = self.keys.value
        try:
            return open_token(encoded, self.keys.known())
        except NotOurs:
            if not self.keys.renewed(used):
                raise
        return open_token(encoded, self.keys.known())

    async def _judge(
        self, token: Token, asked: Asked | None, arrived: float, shed_reason: Outage | None
    ) -> Answer:
        holder = self.introductions.introduce(token, asked)
        if holder.excess and (refusal := self._refuse_excess(holder.excess)):
            return refusal
        if holder.binding is None:
            if asked and asked.request.elsewhere:  # one of ours, which another server plays back
                raise Unfit("token_of_another")
            unknown = Outage(Reason.UNKNOWN_ROOM, "the token is for an unknown LiveKit room")
            return self._pass_unjudged(unknown, None, holder.person)
        room = holder.binding.room
        self.issued.on_issued(room)
        due = self.desk.now() + self.seconds
        for_data = self.introductions.directory.is_for_data(token.livekit_room)
        door = asked.door if asked else ""
        recipient = Recipient(
            room, holder.person, token.identity, arrived, due, holder.user, for_data, door
        )
        if shed_reason:
            if not for_data:
                self.desk.keep_soon(recipient)  # the live loop sees to them once they have come in
            return self._pass_unjudged(shed_reason, room, again=True)
        findings = await self.judge_rules.findings(recipient)
        return await self._conclude(recipient, token, findings)

    def _pass_unjudged(
        self,
        outage: Outage,
        room: RoomId | None = None,
        user: Person | None = None,
        again: bool = False,
    ) -> Pass:
        """Let a token out unguarded, counted for every rule."""
        for rule in self.judge_rules.names:
            self.records.failed_open(rule, outage, room, user, again=again)
        return Pass()

    def _refuse_excess(self, excess: Excess) -> Refusal | None:
        """Refuse more slots or devices than seats could be counted for: the limit's business.

        None where the limit is only observed: the other rules hold all the same.
        """
        observed = Limit.name in self.judge_rules.observed
        ruling = refused(Limit.name, excess.room, excess.user, excess.refuse)
        decision = self.records.decided(ruling, observed=observed)
        return None if observed else Refusal(excess.refuse, decision)

    async def _conclude(self, recipient: Recipient, token: Token, findings: Findings) -> Answer:
        """Refuse; or take the seats, each in one step, and narrow the token.

        Whoever is refused by any rule takes no seat from others.
        """
        keeps_seat = findings.keeps_seat
        passed: list[Finding] = []
        for finding in findings.each:
            if not isinstance(finding.verdict, Refuse):
                passed.append(finding)
            elif refusal := self._refuse(recipient, finding, finding.verdict):
                return refusal
            else:
                keeps_seat |= finding.wanted is not None
        seated: list[Finding] = []
        for finding in passed:
            full = await self._claim(recipient, finding)
            if full is None:
                seated.append(finding)
            elif refusal := self._refuse(recipient, finding, full):
                return refusal
            else:
                keeps_seat = True
        if keeps_seat:  # whoever is judged next must count them
            await self.desk.keep(recipient)
        if recipient.user:
            self.introductions.confirm(token, recipient.user)
        return self.issuing.issue(recipient, token, seated)

    async def _claim(self, recipient: Recipient, finding: Finding) -> Refuse | None:
        """Take the seat that a rule wants taken; a refusal where others were quicker."""
        wanted = finding.wanted
        if wanted is None:
            return None
        seating = await self.desk.claim(recipient, wanted.seats, wanted.at)
        if seating.admitted:
            return None
        occupancy = Occupancy(seating.users, seating.users, False, is_on=True)
        full = Facts(occupancy, power=wanted.power)
        assert isinstance(finding.rule, Rule), "a rule with seats is one that a room's state sets"
        verdict = finding.rule.judge(finding.policy, recipient.who, full)
        return verdict if isinstance(verdict, Refuse) else None

    def _refuse(self, recipient: Recipient, finding: Finding, refuse: Refuse) -> Refusal | None:
        """Put a refusal on record; None where the rule is only observed: they come in."""
        seated = self.desk.taken(recipient.room) if finding.wanted else ()
        room, person, rule = recipient.room, recipient.person, finding.rule.name
        ruling = refused(rule, room, person, refuse, seated, recipient.door)
        decision = self.records.decided(ruling, observed=finding.is_observed)
        return None if finding.is_observed else Refusal(refuse, decision)
