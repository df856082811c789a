// The states that rooms and decisions are in: what one can filter by, and what comes first.

const HOUR = 3600;
const RECENT = 900; // a room that refuses people is full again and again: it must not jump about

export function isFull(room) {
  return room.max_users !== null && room.taken >= room.max_users;
}

const of = (...kinds) => (decision) => kinds.includes(decision.kind);

/** By name: whether a room is in that state, and whether a decision has to do with it. */
export const STATES = {
  unguarded: { room: (room) => room.failed_open > 0, decision: of("fail_open", "unenforced") },
  full: {
    room: isFull,
    decision: ({ kind, rule }) => kind === "refused" && rule === "limit",
  },
  refused: { room: (room) => room.refused > 0, decision: of("refused") },
  changed: {
    room: (room) => room.narrowed > 0 || room.steps > 0,
    decision: of("changed", "step"),
  },
  "rules lost": { room: (room) => Boolean(room.rules_lost_of), decision: () => false },
  "not members": { room: (room) => room.strangers > 0, decision: (d) => d.rule === "members" },
};

/** The names of the states that something is in; `what` is room or decision. */
export function statesOf(what, thing) {
  return Object.keys(STATES).filter((name) => STATES[name][what](thing));
}

/** Whether rules were not enforced in a room lately. */
export function isUnguarded(room, now) {
  return isWithin(room.failed_open_at, now, HOUR);
}

/** What comes first: 0 not enforced lately, 1 refusing people, 2 under a policy, 3 the rest. */
export function rank(room, now) {
  if (isUnguarded(room, now) || room.rules_lost_of || room.strangers) return 0;
  if (isWithin(room.refused_at, now, RECENT)) return 1;
  return room.policy.length > 0 ? 2 : 3;
}

export const SECTIONS = ["Needs attention", "Refusing people", "With rules", "Without rules"];

function isWithin(at, now, seconds) {
  return at !== null && at !== undefined && now - at < seconds;
}

/** Whether something in these states, with these texts, is what somebody wants to see. */
export function fits(wanted, states, heap) {
  return (
    wanted.states.every((name) => states.includes(name)) &&
    wanted.words.every((word) => heap.includes(word))
  );
}
