// The rows of the rooms. A row is made once and then only changed where it differs, so that focus,
// scroll position and what is open stay as they are while hundreds of rooms change.

import { count, isBlank, make, show, term, write } from "./text.js";

const MOST_SEGMENTS = 20;

/** The name by which a room is shown. */
export function labelOf(room) {
  return room.name && !isBlank(room.name) ? room.name : room.room;
}

export function isFull(room) {
  return room.max_users !== null && room.taken >= room.max_users;
}

/** What the rules say in words, but for the seats, which are shown as a number. */
function ruleWords(room) {
  return room.policy.flatMap(({ seats, words }) => (seats === null ? words : []));
}

function hasPolicy(room) {
  return room.policy.length > 0;
}

/** Keeps the list of rooms. `onLabel` is told of a room whose name changed. */
export class Rooms {
  constructor(list, note, onLabel) {
    this.list = list;
    this.note = note;
    this.onLabel = onLabel;
    this.rows = new Map();
    this.order = [];
    this.words = [];
  }

  replace(rooms) {
    const there = new Set(rooms.map((room) => room.room));
    this.change(rooms, [...this.rows.keys()].filter((id) => !there.has(id)));
  }

  change(changed, gone) {
    for (const id of gone) this.remove(id);
    for (const room of changed) this.put(room);
    this.noteCount();
  }

  label(id) {
    const row = this.rows.get(id);
    return row ? labelOf(row.room) : id;
  }

  filter(words) {
    this.words = words;
    for (const row of this.order) show(row.item, row.fits(words));
    this.noteCount();
  }

  shownCount() {
    return this.order.reduce((sum, row) => sum + (row.item.hidden ? 0 : 1), 0);
  }

  noteCount() {
    const all = this.order.length;
    let text = "";
    if (all === 0) text = "No calls at the moment.";
    else if (this.words.length) text = `${this.shownCount()} of ${count(all, "room", "rooms")}`;
    write(this.note, text);
    show(this.note, text !== "");
  }

  put(room) {
    const known = this.rows.get(room.room);
    const row = known ?? new Row();
    const label = known && labelOf(known.room);
    row.update(room);
    if (!known) this.rows.set(room.room, row);
    this.place(row, Boolean(known));
    show(row.item, row.fits(this.words));
    if (label !== labelOf(room)) this.onLabel(room.room);
  }

  /** Put a row where it belongs: rooms under a policy first, then by name, nameless ones last. */
  place(row, isPlaced) {
    const { room } = row.room;
    const label = labelOf(row.room);
    const rank = (hasPolicy(row.room) ? 0 : 2) + (label === room ? 1 : 0);
    const key = `${rank}${label.toLowerCase()}\0${room}`;
    if (key === row.key) return;
    if (isPlaced) this.order.splice(this.order.indexOf(row), 1);
    row.key = key;
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order[middle].key < key) low = middle + 1;
      else high = middle;
    }
    const focused = row.item.contains(document.activeElement) ? document.activeElement : null;
    this.list.insertBefore(row.item, this.order[low]?.item ?? null);
    this.order.splice(low, 0, row);
    focused?.focus({ preventScroll: true });
  }

  /** Take a row out; focus that was in it goes on to a neighbour. */
  remove(id) {
    const row = this.rows.get(id);
    if (!row) return;
    if (row.item.contains(document.activeElement)) neighbour(row.item)?.focus();
    row.item.remove();
    this.rows.delete(id);
    this.order.splice(this.order.indexOf(row), 1);
  }
}

/** Find what is to have the focus once a row has gone. */
export function neighbour(item) {
  const isOpenTo = (other) => other && !other.hidden;
  let other = item.nextElementSibling;
  while (other && other.hidden) other = other.nextElementSibling;
  if (!isOpenTo(other)) other = item.previousElementSibling;
  while (other && other.hidden) other = other.previousElementSibling;
  return other?.querySelector("summary") ?? document.getElementById("filter");
}

class Row {
  constructor() {
    this.item = make("li", "row room");
    this.details = make("details", "", this.item);
    const summary = make("summary", "", this.details);
    this.name = make("bdi", "name", make("span", "title", summary));
    this.seats = make("span", "seats", summary);
    this.seatsText = make("span", "", this.seats);
    this.bar = make("span", "bar", this.seats);
    this.bar.setAttribute("aria-hidden", "true");
    this.tags = make("span", "tags", summary);
    this.body = null;
    this.details.addEventListener("toggle", () => this.toggled());
  }

  update(room) {
    this.room = room;
    this.heap = null;
    write(this.name, labelOf(room));
    this.name.classList.toggle("id", labelOf(room) === room.room);
    this.updateSeats();
    this.updateTags();
    this.item.classList.toggle("bad", room.failed_open > 0);
    if (this.body) this.body.update(room);
  }

  updateSeats() {
    const { people, taken, max_users: most } = this.room;
    const isLimited = most !== null;
    write(
      this.seatsText,
      isLimited ? `${taken} of ${count(most, "seat", "seats")}` : count(people, "person", "people"),
    );
    show(this.bar, isLimited);
    this.seats.classList.toggle("full", isFull(this.room));
    if (!isLimited) return;
    const style = this.bar.style;
    style.setProperty("--share", `${Math.min(100, (100 * taken) / most)}%`);
    style.setProperty("--seats", most <= MOST_SEGMENTS ? most : 1);
  }

  updateTags() {
    const { refused, failed_open: open } = this.room;
    const tags = [];
    if (isFull(this.room)) tags.push(["full", "full"]);
    for (const words of ruleWords(this.room)) tags.push([words, ""]);
    if (this.room.rules_lost_of) tags.push(["rules lost", "bad"]);
    if (this.room.strangers) tags.push([strangerWords(this.room), "bad"]);
    if (refused) tags.push([`${refused} refused`, "quiet"]);
    if (open) tags.push([`${open} let through`, "bad"]);
    fill(this.tags, tags.length, "span", (tag, index) => {
      write(tag, tags[index][0]);
      const name = `tag ${tags[index][1]}`;
      if (tag.className !== name) tag.className = name;
    });
    show(this.tags, tags.length > 0);
  }

  toggled() {
    if (this.details.open && !this.body) {
      this.body = new Body(this.details);
      this.body.update(this.room);
    } else if (!this.details.open && this.body) {
      this.body.node.remove();
      this.body = null;
    }
  }

  /** Whether every word is in what the row shows or would show. */
  fits(words) {
    if (!words.length) return true;
    if (this.heap === null) {
      const { room, name, users, failed_open: open } = this.room;
      const texts = [room, name, ...users, ...ruleWords(this.room)];
      if (hasPolicy(this.room)) texts.push("policy");
      if (isFull(this.room)) texts.push("full");
      if (open) texts.push("let through");
      if (this.room.rules_lost_of) texts.push("rules lost");
      if (this.room.strangers) texts.push(strangerWords(this.room));
      this.heap = texts.join("\n").toLowerCase();
    }
    return words.every((word) => this.heap.includes(word));
  }
}

/** What an open row shows; it is made when the row is opened and goes when it is closed. */
class Body {
  constructor(parent) {
    this.node = make("div", "body", parent);
    const list = make("dl", "", this.node);
    this.id = term(list, "Room");
    this.id.className = "id";
    this.policy = term(list, "Policy");
    this.people = term(list, "People");
    this.done = term(list, "Done here");
    this.users = make("ul", "users", this.node);
    this.users.setAttribute("aria-label", "Who is there");
  }

  update(room) {
    write(this.id, room.room);
    write(this.policy, policyWords(room));
    write(this.people, peopleWords(room));
    write(this.done, doneWords(room));
    fill(this.users, room.users.length, "li", (item, index) => {
      write(item.firstChild ?? make("bdi", "id", item), room.users[index]);
    });
    show(this.users, room.users.length > 0);
  }
}

function policyWords(room) {
  const { max_users: most } = room;
  const words = ruleWords(room);
  if (most !== null) words.unshift(`at most ${count(most, "person", "people")}`);
  const lost = room.rules_lost_of;
  return words.join(", ") || (lost ? `none; the room that it replaced has one: ${lost}` : "none");
}

function strangerWords(room) {
  return `${room.strangers} not known as ${room.strangers === 1 ? "a member" : "members"}`;
}

function peopleWords(room) {
  const { people, users, taken } = room;
  const parts = [String(people)];
  if (taken > people) parts.push(`${count(taken - people, "seat is", "seats are")} held`);
  if (!hasPolicy(room)) parts.push("who they are is known only under a policy");
  else if (!users.length && people) parts.push("who they are is not shown");
  else if (users.length < people) parts.push(`${users.length} of them are known`);
  if (room.strangers) parts.push(strangerWords(room));
  return parts.join("; ");
}

function doneWords(room) {
  const parts = [];
  if (room.refused) parts.push(`${room.refused} refused`);
  if (room.narrowed) parts.push(`${count(room.narrowed, "token", "tokens")} changed`);
  if (room.steps) parts.push(count(room.steps, "live step", "live steps"));
  if (room.failed_open) parts.push(`${room.failed_open} let through unguarded`);
  return parts.join(", ") || "nothing yet";
}

/** Make an element have so many children, keeping old ones, and let each be written. */
function fill(parent, number, tag, each) {
  while (parent.children.length > number) parent.lastChild.remove();
  while (parent.children.length < number) make(tag, "", parent);
  for (let index = 0; index < number; index += 1) each(parent.children[index], index);
}
