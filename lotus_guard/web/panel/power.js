// Power levels as homeservers compute them, and as `lotus_guard.core.power` does. It is for telling
// people beforehand: the homeserver alone decides.

const STATE_DEFAULT = 50;
const CREATOR = 100;
const CREATOR_IS_SENDER = 11;
const CREATORS_ABOVE_ALL = 12;

/** Who may do what in a room, from its events; null where there is no such event. */
export class Power {
  constructor(levels, create) {
    const said = asObject(levels?.content);
    this.usersDefault = number(said.users_default, 0);
    this._stateDefault = number(said.state_default, STATE_DEFAULT);
    this._users = asObject(said.users);
    this._events = asObject(said.events);
    this._creators = creators(create, levels !== null);
  }

  /** A user's level; infinite for those who made a room of version 12 or later. */
  of(user) {
    return this._creators.get(user) ?? number(own(this._users, user), this.usersDefault);
  }

  /** The level that setting a state event needs. */
  needed(type) {
    return number(own(this._events, type), this._stateDefault);
  }

  /** Whether a user may set a state event; where we do not know who they are, they may try. */
  allows(user, type) {
    return user === null || this.of(user) >= this.needed(type);
  }
}

/** Those whose level follows from having made the room. */
function creators(create, hasLevels) {
  const content = asObject(create?.content);
  const text = content.room_version ?? "1";
  const version = typeof text === "string" && /^\d{1,8}$/.test(text) ? Number(text) : 0;
  if (version >= CREATORS_ABOVE_ALL) {
    const more = Array.isArray(content.additional_creators) ? content.additional_creators : [];
    return new Map([create.sender, ...more].map((user) => [user, Infinity]));
  }
  const isNamed = version < CREATOR_IS_SENDER && typeof content.creator === "string";
  const creator = isNamed ? content.creator : create?.sender;
  return new Map(hasLevels || typeof creator !== "string" ? [] : [[creator, CREATOR]]);
}

function asObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
}

function own(fields, name) {
  return Object.hasOwn(fields, name) ? fields[name] : null;
}

/** Read a level: before room version 10 it may be text, before 6 a number with a fraction. */
function number(value, otherwise) {
  if (typeof value === "number") return Math.trunc(value);
  const isText = typeof value === "string" && /^\s*[+-]?\d{1,18}\s*$/.test(value);
  return isText ? Number(value) : otherwise;
}
