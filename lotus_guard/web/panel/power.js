// Power levels as Matrix computes them ("m.room.power_levels", and the authorization rules of the
// room versions). It is for telling people beforehand: the homeserver alone decides.

const STATE_DEFAULT = 50;
const CREATOR = 100;
const CREATORS_ABOVE_ALL = 12;

/** Who may do what in a room, from its events; null where there is no such event. */
export class Power {
  constructor(levels, create) {
    this.levels = levels && (levels.content ?? {});
    this.create = create;
  }

  /** What everybody has who is not named. */
  get usersDefault() {
    return number(this.levels?.users_default, 0);
  }

  /** A user's level; infinite for those who made a room of version 12 or later. */
  of(user) {
    const content = this.create?.content ?? {};
    const isCreator = user === this.create?.sender;
    if (Number(content.room_version) >= CREATORS_ABOVE_ALL) {
      const more = Array.isArray(content.additional_creators) ? content.additional_creators : [];
      if (isCreator || more.includes(user)) return Infinity;
    }
    if (!this.levels) return isCreator ? CREATOR : 0;
    return number(own(this.levels.users, user), this.usersDefault);
  }

  /** The level that setting a state event needs. */
  needed(type) {
    if (!this.levels) return 0;
    return number(own(this.levels.events, type), number(this.levels.state_default, STATE_DEFAULT));
  }

  /** Whether a user may set a state event; where we do not know who they are, they may try. */
  allows(user, type) {
    return user === null || this.of(user) >= this.needed(type);
  }
}

function own(fields, name) {
  return fields && typeof fields === "object" && Object.hasOwn(fields, name) ? fields[name] : null;
}

function number(value, otherwise) {
  if (Number.isInteger(value)) return value;
  const isText = typeof value === "string" && /^\s*[+-]?\d{1,18}\s*$/.test(value);
  return isText ? Number(value) : otherwise;
}
