// The rules of a room: what is in its two events, and what becomes of them. Pure functions.
// Fields that we do not know stay in the events as they are.

export const LIMIT = "io.lotus.voice_limit";
export const QUALITY = "io.lotus.room_quality";
export const EVENTS = [LIMIT, QUALITY];
export const MOST = 9999;

const isWhole = (value) => Number.isSafeInteger(value);
const isCount = (value) => isWhole(value) && value >= 1;

function put(content, name, value) {
  if (value === null) delete content[name];
  else content[name] = value;
}

const count = (name) => ({
  read: (content) => (isCount(content[name]) ? content[name] : null),
  write: (content, value) => put(content, name, value),
  names: { [name]: isCount },
});

const level = (name) => ({
  read: (content) => (isWhole(content[name]) ? content[name] : null),
  write: (content, value) => put(content, name, value),
  names: { [name]: isWhole },
});

const allowed = (name) => ({
  read: (content) => content[name] !== false,
  write: (content, value) => put(content, name, value ? null : false),
  names: { [name]: (value) => typeof value === "boolean" },
});

/**
 * Who is exempt: nobody, `setters` (who may set that very event), or who has a `level`. An event may
 * name a level besides `setters`; then those who have either are.
 */
const exempt = {
  read: (content) => {
    const level = isWhole(content.bypass_level) ? content.bypass_level : null;
    if (content.bypass === true) return { who: "setters", level };
    return { who: level === null ? "nobody" : "level", level };
  },
  write: (content, value) => {
    put(content, "bypass", value.who === "setters" ? true : null);
    put(content, "bypass_level", value.level);
  },
  names: { bypass: (value) => typeof value === "boolean", bypass_level: isWhole },
};

/** What can be set, by its name: the event that it is in, and how it is read and written. */
export const FIELDS = {
  people: { event: LIMIT, ...count("max_users") },
  start: { event: LIMIT, ...level("start_level") },
  limitExempt: { event: LIMIT, ...exempt },
  camera: { event: QUALITY, ...allowed("allow_camera") },
  screen: { event: QUALITY, ...allowed("allow_screenshare") },
  cameras: { event: QUALITY, ...count("max_cameras") },
  qualityExempt: { event: QUALITY, ...exempt },
};
const NAMES = Object.keys(FIELDS);

/** Whether two JSON values are the same, whatever the order of their fields. */
export function same(one, other) {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.keys(value).sort().map((key) => [key, sorted(value[key])]);
}

/** What the events say, by the fields' names; `contents` has an object for each type. */
export function valuesOf(contents) {
  return Object.fromEntries(
    NAMES.map((name) => [name, FIELDS[name].read(contents[FIELDS[name].event])]),
  );
}

/** The names of the fields in which two sets of values differ. */
export function differing(one, other) {
  return NAMES.filter((name) => !same(one[name], other[name]));
}

/** Whether something that people in a call may have lost is allowed again, or to more of them. */
export function lifts(before, after) {
  const most = (values) => values.cameras ?? Infinity;
  const isAllowed = ["camera", "screen"].some((name) => after[name] && !before[name]);
  return isAllowed || most(after) > most(before);
}

/** The contents with these fields set to new values, and all else as it was. */
export function written(contents, values, names) {
  const made = structuredClone(contents);
  for (const name of names) FIELDS[name].write(made[FIELDS[name].event], values[name]);
  return made;
}

/**
 * Join what was changed here with what somebody else changed meanwhile. `taken` are the fields in
 * which theirs is new and nothing was changed here, `clashing` those that both changed, otherwise.
 */
export function merged(base, mine, theirs) {
  const moved = differing(base, theirs);
  const kept = differing(base, mine);
  const taken = moved.filter((name) => !kept.includes(name));
  const clashing = moved.filter((name) => kept.includes(name) && !same(mine[name], theirs[name]));
  const values = { ...mine };
  for (const name of taken) values[name] = theirs[name];
  return { values, taken, clashing };
}

/** The names in an event's content under which something stands that means nothing. */
export function typos(event, content) {
  const checks = NAMES.filter((name) => FIELDS[name].event === event).map((n) => FIELDS[n].names);
  return Object.entries(Object.assign({}, ...checks))
    .filter(([name, isGood]) => Object.hasOwn(content, name) && !isGood(content[name]))
    .map(([name]) => name);
}
