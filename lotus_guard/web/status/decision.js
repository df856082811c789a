// The row of a group of decisions.

import { fill } from "./rowlist.js";
import { count, make, moment, plainly, show, term, write } from "./text.js";

const IDS = new Set(["Reference", "Room", "User", "Seated"]);
const KINDS = {
  refused: ["Refused", "Would have refused"],
  changed: ["Changed the token of", "Would have changed the token of"],
  step: ["Changed live:", "Would have changed live:"],
  fail_open: ["Unguarded:", "Unguarded:"],
  unenforced: ["Rules not enforced in running calls", "Rules not enforced in running calls"],
};
const MOST_LISTED = 12;

/** A row; `labelOf` gives a room's name by its id. */
export class Row {
  constructor(labelOf) {
    this.labelOf = labelOf;
    this.item = make("li", "row decision");
    this.details = make("details", "", this.item);
    const summary = make("summary", "", this.details);
    this.time = make("time", "", summary);
    const title = make("span", "title", summary);
    this.kind = make("span", "kind", title);
    title.append(" ");
    this.user = make("bdi", "name", title);
    this.times = make("span", "times", summary);
    const line = make("span", "why", summary);
    this.room = make("bdi", "", line);
    line.append(": ");
    this.why = make("bdi", "", line);
    this.body = null;
    this.details.addEventListener("toggle", () => this.toggled());
  }

  update(group) {
    this.group = group;
    const { kind, observed, at, why } = group.latest;
    const words = KINDS[kind];
    this.item.classList.toggle("bad", kind === "fail_open");
    this.item.classList.toggle("observed", observed);
    const iso = new Date(at * 1000).toISOString();
    if (this.time.dateTime !== iso) this.time.dateTime = iso;
    write(this.time, moment(at));
    write(this.kind, words ? words[observed ? 1 : 0] : kind);
    write(this.user, peopleOf(group));
    write(this.times, `${group.count} ×`);
    show(this.times, group.count > 1);
    write(this.room, this.place());
    write(this.why, plainly(why));
    if (this.body) this.describe();
  }

  place() {
    const { isWide, rooms, latest } = this.group;
    if (isWide && rooms.size > 1) return atLeast(rooms.size, "room", "rooms");
    if (latest.room !== null) return this.labelOf(latest.room);
    return latest.kind === "unenforced" ? latest.rule : "no room";
  }

  toggled() {
    if (this.details.open && !this.body) {
      this.body = make("div", "body", this.details);
      this.list = make("dl", "", this.body);
      this.others = make("ol", "others", this.body);
      this.others.setAttribute("aria-label", "The last of these decisions");
      this.describe();
    } else if (!this.details.open && this.body) {
      this.body.remove();
      this.body = null;
    }
  }

  describe() {
    const fields = fieldsOf(this.group);
    this.list.replaceChildren();
    for (const [name, value] of fields) {
      const place = term(this.list, name);
      if (IDS.has(name)) place.className = "id";
      write(place, value);
    }
    const { members, count: number, isWide } = this.group;
    const listed = number > 1 ? members.slice(0, MOST_LISTED) : [];
    fill(this.others, listed.length, "li", (item, index) => {
      const { id, at, user, room } = listed[index];
      while (item.children.length < 4) make("bdi", ["", "id", "id", ""][item.children.length], item);
      const texts = [moment(at), id, user ?? "", isWide && room ? this.labelOf(room) : ""];
      texts.forEach((text, column) => write(item.children[column], text));
    });
    show(this.others, listed.length > 0);
  }
}

function fieldsOf({ latest, count: number, begun }) {
  const { id, at, rule, verdict, room, user, inputs, people, observed } = latest;
  const span = number > 1 ? `${number} from ${moment(begun)} to ${moment(at)}` : "";
  const fields = [
    ["Decisions", span],
    [number > 1 ? "Latest" : "Reference", id],
    ["Rule", observed ? `${rule}, observed only` : rule],
    ["Verdict", verdict],
    ["Room", room],
    ["User", user],
    ...Object.entries(inputs ?? {}).map(([name, value]) => [name, plain(value)]),
    ["Seated", (people ?? []).join(", ")],
  ];
  return fields.filter(([, value]) => value);
}

/** Name whom a group is about. */
function peopleOf({ users, latest, count: number }) {
  if (users.size > 1) return atLeast(users.size, "person", "people");
  if (latest.user) return latest.user;
  if (latest.kind === "unenforced") return "";
  if (latest.kind === "refused" && !latest.room) return number > 1 ? "requests" : "a request";
  return "somebody";
}

function atLeast(number, one, many) {
  return number >= 100 ? `100 ${many} or more` : count(number, one, many);
}

function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
