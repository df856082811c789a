// The row of one room.

import { fill } from "./rowlist.js";
import { isFull } from "./states.js";
import { at, count, make, show, term, write } from "./text.js";

const MOST_SEGMENTS = 20;

/** A row; `labelOf` gives the name by which a room is shown. */
export class Row {
  constructor(labelOf) {
    this.labelOf = labelOf;
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

  /** Write the name of the section that begins with this row; "" where none does. */
  head(text) {
    if ((this.item.dataset.section ?? "") === text) return;
    if (text) this.item.dataset.section = text;
    else delete this.item.dataset.section;
  }

  update({ room, rank }) {
    this.room = room;
    write(this.name, this.labelOf(room));
    this.name.classList.toggle("id", this.labelOf(room) === room.room);
    this.updateSeats();
    this.updateTags();
    this.item.classList.toggle("bad", rank === 0 && room.failed_open > 0);
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
    const tags = tagsOf(this.room);
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
    this.enforced = term(list, "Enforced");
    this.users = make("ul", "users", this.node);
    this.users.setAttribute("aria-label", "People in the room");
  }

  update(room) {
    write(this.id, room.room);
    write(this.policy, policyWords(room));
    write(this.people, peopleWords(room));
    write(this.enforced, enforcedWords(room));
    fill(this.users, room.users.length, "li", (item, index) => {
      write(item.firstChild ?? make("bdi", "id", item), room.users[index]);
    });
    show(this.users, room.users.length > 0);
  }
}

/** What the rules say in words, but for the seats, which are shown as a number. */
function ruleWords(room) {
  return room.policy.flatMap(({ seats, words }) => (seats === null ? words : []));
}

function tagsOf(room) {
  const { refused, failed_open: open, full_since: since } = room;
  const tags = [];
  if (open) tags.push([`${open} unguarded`, "bad"]);
  if (room.rules_lost_of) tags.push(["rules lost in an upgrade", "bad"]);
  if (room.strangers) tags.push([strangerWords(room), "bad"]);
  if (isFull(room)) tags.push([since ? `full since ${at(since)}` : "full", "full"]);
  if (refused) tags.push([`${refused} refused`, "quiet"]);
  for (const words of ruleWords(room)) tags.push([words, ""]);
  return tags;
}

function policyWords(room) {
  const { max_users: most, rules_lost_of: lost } = room;
  const words = ruleWords(room);
  if (most !== null) words.unshift(`at most ${count(most, "person", "people")}`);
  return words.join(", ") || (lost ? `none; the room it replaced has one: ${lost}` : "none");
}

function strangerWords(room) {
  return `${room.strangers} not known to be ${room.strangers === 1 ? "a member" : "members"}`;
}

function peopleWords(room) {
  const { people, users, taken } = room;
  const parts = [String(people)];
  if (taken > people) parts.push(`${count(taken - people, "seat is", "seats are")} held`);
  if (!room.policy.length) parts.push("names are known only where a rule applies");
  else if (!users.length && people) parts.push("names are not shown");
  else if (users.length < people) parts.push(`${users.length} of them known by name`);
  if (room.strangers) parts.push(strangerWords(room));
  return parts.join("; ");
}

function enforcedWords(room) {
  const { refused, narrowed, steps, failed_open: open } = room;
  const parts = [];
  if (refused) parts.push(`${refused} refused${last(room.refused_at)}`);
  if (narrowed) parts.push(`${count(narrowed, "token", "tokens")} changed`);
  if (steps) parts.push(count(steps, "live change", "live changes"));
  if (open) parts.push(`${open} unguarded${last(room.failed_open_at)}`);
  return parts.join(", ") || "nothing yet";
}

function last(time) {
  return time ? ` (last ${at(time)})` : "";
}
