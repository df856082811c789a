// The last decisions, put together where they are alike, newest first.

import { Row } from "./decision.js";
import { soon } from "./frames.js";
import { Groups } from "./groups.js";
import { RowList } from "./rowlist.js";
import { fits } from "./states.js";
import { count, show, write } from "./text.js";

const ROWS = { narrow: 15, wide: 40, things: "lines" };

/** Keeps the list of decisions; `labelOf` gives a room's name by its id. */
export class Decisions {
  constructor({ list, note, button }, labelOf) {
    this.note = note;
    this.labelOf = labelOf;
    this.wanted = { words: [], states: [] };
    this.groups = new Groups(() => {});
    this.draw = () => this.drawNow();
    const redraw = () => soon(this.draw);
    this.rows = new RowList(list, button, () => new Row(labelOf), ROWS, redraw);
  }

  /** Begin anew: another guard tells now. */
  clear() {
    this.groups.clear();
    soon(this.draw);
  }

  /** Take in new ones; gives those that were not there yet. */
  add(decisions) {
    const { fresh, touched } = this.groups.add(decisions);
    for (const group of touched) this.rows.changed.add(group.id);
    soon(this.draw);
    return fresh;
  }

  /** Show a room's new name. */
  relabel(room) {
    for (const group of this.groups.all) {
      if (!group.rooms.has(room)) continue;
      group.heap = null;
      this.rows.changed.add(group.id);
    }
    soon(this.draw);
  }

  filter(wanted) {
    this.wanted = wanted;
    soon(this.draw);
  }

  /** The newest of a kind. */
  newest(kind) {
    return this.groups.newest.get(kind);
  }

  drawNow() {
    const shown = this.groups.all.filter((group) => this.isWanted(group));
    const isMore = this.rows.show(shown, shown.filter((group) => group.isUnguarded));
    this.noteCount(shown);
    return isMore;
  }

  isWanted(group) {
    const { words, states } = this.wanted;
    if (!words.length && !states.length) return true;
    group.heap ??= heapOf(group, this.labelOf);
    return fits(this.wanted, group.states, group.heap);
  }

  noteCount(shown) {
    const all = this.groups.all;
    const number = (groups) => groups.reduce((sum, group) => sum + group.count, 0);
    let text = "";
    if (!all.length) text = "Nothing has been refused or changed yet.";
    else if (this.wanted.words.length || this.wanted.states.length) {
      text = `${number(shown)} of ${count(number(all), "decision", "decisions")}`;
    }
    write(this.note, text);
    show(this.note, text !== "");
  }
}

/** All that a group can be found by, in small letters. */
function heapOf(group, labelOf) {
  const texts = [...group.states, ...group.users];
  for (const room of group.rooms) texts.push(room, labelOf(room));
  for (const { id, why, verdict, rule } of group.members) texts.push(id, why, verdict, rule);
  return texts.join("\n").toLowerCase();
}
