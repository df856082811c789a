// The last decisions, newest first.

import { neighbour } from "./rooms.js";
import { make, moment, show, term, write } from "./text.js";

const MOST = 50;
const IDS = new Set(["Reference", "Room", "User", "Seated"]);
const KINDS = {
  refused: ["Refused", "Would have refused"],
  changed: ["Changed the token of", "Would have changed the token of"],
  step: ["Stepped in on", "Would have stepped in on"],
  fail_open: ["Let through unguarded:", "Let through unguarded:"],
  unenforced: ["Not enforced in live calls", "Not enforced in live calls"],
};

/** Keeps the list of decisions; `labelOf` gives a room's name by its id. */
export class Decisions {
  constructor(list, note, labelOf) {
    this.list = list;
    this.note = note;
    this.labelOf = labelOf;
    this.rows = new Map();
    this.words = [];
  }

  /** Show these and no others. */
  replace(decisions) {
    const there = new Set(decisions.map((decision) => decision.id));
    for (const id of [...this.rows.keys()]) if (!there.has(id)) this.remove(id);
    this.add(decisions);
  }

  /** Put new ones on top; gives those that were not there yet. */
  add(decisions) {
    const fresh = decisions.filter((decision) => !this.rows.has(decision.id));
    for (const decision of [...fresh].reverse()) {
      const row = new Row(decision, this.labelOf);
      this.rows.set(decision.id, row);
      show(row.item, row.fits(this.words));
      this.list.prepend(row.item);
    }
    for (const id of [...this.rows.keys()].slice(0, -MOST)) this.remove(id);
    this.noteCount();
    return fresh;
  }

  remove(id) {
    const { item } = this.rows.get(id);
    if (item.contains(document.activeElement)) neighbour(item)?.focus();
    item.remove();
    this.rows.delete(id);
  }

  /** Show a room's new name. */
  relabel(room) {
    for (const row of this.rows.values()) if (row.decision.room === room) row.update();
  }

  filter(words) {
    this.words = words;
    for (const row of this.rows.values()) show(row.item, row.fits(words));
    this.noteCount();
  }

  /** Those of a kind, newest first. */
  ofKind(kind) {
    const all = [...this.rows.values()].map((row) => row.decision);
    return all.filter((decision) => decision.kind === kind).sort((a, b) => b.at - a.at);
  }

  noteCount() {
    const rows = [...this.rows.values()];
    const shown = rows.filter((row) => !row.item.hidden).length;
    let text = "";
    if (!rows.length) text = "Nothing has been refused or changed yet.";
    else if (this.words.length) text = `${shown} of ${rows.length}`;
    write(this.note, text);
    show(this.note, text !== "");
  }
}

class Row {
  constructor(decision, labelOf) {
    this.decision = decision;
    this.labelOf = labelOf;
    this.item = make("li", "row decision");
    this.item.classList.toggle("bad", decision.kind === "fail_open");
    this.item.classList.toggle("observed", decision.observed);
    this.details = make("details", "", this.item);
    const summary = make("summary", "", this.details);
    this.time = make("time", "", summary);
    this.time.dateTime = new Date(decision.at * 1000).toISOString();
    write(this.time, moment(decision.at));
    const title = make("span", "title", summary);
    this.kind = make("span", "kind", title);
    title.append(" ");
    this.user = make("bdi", "name", title);
    const line = make("span", "why", summary);
    this.room = make("bdi", "", line);
    line.append(": ");
    this.why = make("bdi", "", line);
    this.details.addEventListener("toggle", () => this.toggled());
    this.update();
  }

  update() {
    const { kind, observed, user, room, rule, why } = this.decision;
    const words = KINDS[kind];
    write(this.kind, words ? words[observed ? 1 : 0] : kind);
    write(this.user, user ?? nobody(kind, room));
    write(this.room, room === null ? (kind === "unenforced" ? rule : "no room") : this.labelOf(room));
    write(this.why, why);
  }

  toggled() {
    const old = this.details.querySelector(".body");
    if (!this.details.open) old?.remove();
    else if (!old) this.describe(make("div", "body", this.details));
  }

  describe(body) {
    const { id, rule, verdict, room, user, inputs, people, observed } = this.decision;
    const list = make("dl", "", body);
    const fields = [
      ["Reference", id],
      ["Rule", observed ? `${rule}, observed only` : rule],
      ["Verdict", verdict],
      ["Room", room],
      ["User", user],
      ...Object.entries(inputs ?? {}).map(([name, value]) => [name, plain(value)]),
      ["Seated", (people ?? []).join(", ")],
    ];
    for (const [name, value] of fields) {
      if (!value) continue;
      const place = term(list, name);
      if (IDS.has(name)) place.className = "id";
      write(place, value);
    }
  }

  fits(words) {
    if (!words.length) return true;
    const { id, room, user, why, verdict, rule } = this.decision;
    const label = room && this.labelOf(room);
    const heap = [id, room, label, user, why, verdict, rule, this.kind.textContent].join("\n");
    return words.every((word) => heap.toLowerCase().includes(word));
  }
}

/** Name whom a decision without a user is about; nobody at all where nobody asked for anything. */
function nobody(kind, room) {
  if (kind === "unenforced") return "";
  return kind === "refused" && !room ? "a request" : "somebody";
}

function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
