// The rooms: all of them are known, and those have a row that are shown.

import { soon } from "./frames.js";
import { Row } from "./room.js";
import { RowList } from "./rowlist.js";
import { fits, isUnguarded, rank, SECTIONS, STATES, statesOf } from "./states.js";
import { count, isBlank, show, write } from "./text.js";

const ROWS = { narrow: 20, wide: 40, things: "rooms" };

/** The name by which a room is shown. */
export function labelOf(room) {
  return room.name && !isBlank(room.name) ? room.name : room.room;
}

/** Keeps the list of rooms; `onLabel` is told of a room whose name changed. */
export class Rooms {
  constructor({ list, note, button }, now, onLabel, onCounted) {
    this.note = note;
    this.now = now;
    this.onLabel = onLabel;
    this.onCounted = onCounted;
    this.known = new Map();
    this.order = [];
    this.wanted = { words: [], states: [] };
    this.draw = () => this.drawNow();
    const redraw = () => soon(this.draw);
    this.rows = new RowList(list, button, () => new Row(labelOf), ROWS, redraw);
  }

  get all() {
    return this.order.map((entry) => entry.room);
  }

  get(id) {
    return this.known.get(id)?.room;
  }

  label(id) {
    const room = this.get(id);
    return room ? labelOf(room) : id;
  }

  replace(rooms) {
    const there = new Set(rooms.map((room) => room.room));
    this.change(rooms, [...this.known.keys()].filter((id) => !there.has(id)));
  }

  change(changed, gone) {
    for (const id of gone) this.forget(id);
    for (const room of changed) this.put(room);
    soon(this.draw);
  }

  filter(wanted) {
    this.wanted = wanted;
    soon(this.draw);
  }

  /** Put each where it belongs by now: what happened long ago is no longer first. */
  rerank() {
    for (const entry of [...this.order]) this.place(entry);
    soon(this.draw);
  }

  forget(id) {
    const entry = this.known.get(id);
    if (!entry) return;
    this.known.delete(id);
    this.order.splice(this.order.indexOf(entry), 1);
  }

  put(room) {
    const id = room.room;
    const entry = this.known.get(id) ?? { id, room: null, key: null, rank: 0, heap: null };
    const before = entry.room && labelOf(entry.room);
    entry.room = room;
    entry.heap = null;
    this.known.set(id, entry);
    this.rows.changed.add(id);
    this.place(entry);
    if (before !== labelOf(room)) this.onLabel(id);
  }

  /** Put a room in order: what needs attention first, then by name, nameless ones last. */
  place(entry) {
    const { room } = entry;
    const label = labelOf(room);
    const place = rank(room, this.now());
    const after = place === 0 && !isUnguarded(room, this.now()) ? 1 : 0; // it cannot be made up
    const key = `${place}${after}${label === room.room ? 1 : 0}${label.toLowerCase()}\0${room.room}`;
    if (key === entry.key) return;
    if (entry.key !== null) this.order.splice(this.order.indexOf(entry), 1);
    entry.key = key;
    if (entry.rank !== place) this.rows.changed.add(entry.id);
    entry.rank = place;
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order[middle].key < key) low = middle + 1;
      else high = middle;
    }
    this.order.splice(low, 0, entry);
    this.rows.moved.add(entry.id);
  }

  drawNow() {
    const shown = this.order.filter((entry) => this.isWanted(entry));
    const isMore = this.rows.show(shown);
    this.nameSections(shown);
    this.noteCount(shown.length);
    this.onCounted(this.numbers());
    return isMore;
  }

  /** Write over the first row of each section what it is; where all are of one kind, nowhere. */
  nameSections(shown) {
    const areSeveral = shown.length > 0 && shown[0].rank < 2;
    let before = null;
    for (const { id, rank: place } of shown) {
      const row = this.rows.rows.get(id);
      if (!row) continue;
      row.head(areSeveral && place !== before ? SECTIONS[place] : "");
      before = place;
    }
  }

  isWanted(entry) {
    const { words, states } = this.wanted;
    if (!words.length && !states.length) return true;
    const names = statesOf("room", entry.room);
    entry.heap ??= heapOf(entry.room, names);
    return fits(this.wanted, names, entry.heap);
  }

  numbers() {
    const all = this.all;
    const pairs = Object.entries(STATES).map(([name, state]) => [
      name,
      all.filter(state.room).length,
    ]);
    return Object.fromEntries(pairs);
  }

  noteCount(number) {
    const all = this.order.length;
    let text = "";
    if (all === 0) text = "No calls at the moment.";
    else if (this.wanted.words.length || this.wanted.states.length) {
      text = `${number} of ${count(all, "room", "rooms")}`;
    }
    this.fitting = number;
    write(this.note, text);
    show(this.note, text !== "");
  }
}

/** All that a room can be found by, in small letters. */
function heapOf(room, names) {
  const rules = room.policy.flatMap(({ words }) => words);
  const texts = [room.room, room.name ?? "", ...room.users, ...rules, ...names];
  if (rules.length) texts.push("policy");
  return texts.join("\n").toLowerCase();
}
