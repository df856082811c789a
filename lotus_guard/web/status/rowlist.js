// A list of rows. A row is made once and then only changed where it differs, so that focus, scroll
// position and what is open stay as they are while hundreds of rooms change. Only what is shown has
// a row at all, and of that no more than so many are written in one frame.

import { make, show, write } from "./text.js";

const MOST_WRITTEN = 40;
const MOST_URGENT = 10;
const WIDE = matchMedia("(min-width: 60rem)");

/**
 * Keeps the rows of entries `{ id, ... }`; `makeRow` gives `{ item, details, update(entry) }`. Calls
 * `redraw` where more or fewer rows are wanted: by the button, or on a screen of another width.
 */
export class RowList {
  constructor(list, button, makeRow, { narrow, wide, things }, redraw) {
    this.list = list;
    this.button = button;
    this.makeRow = makeRow;
    this.sizes = { narrow, wide };
    this.things = things;
    this.rows = new Map();
    this.changed = new Set();
    this.moved = new Set();
    this.showsAll = false;
    WIDE.addEventListener("change", redraw);
    button.addEventListener("click", () => {
      this.showsAll = !this.showsAll;
      redraw();
    });
  }

  /** How many rows are shown unless somebody wants all. */
  get most() {
    return WIDE.matches ? this.sizes.wide : this.sizes.narrow;
  }

  get limit() {
    return this.showsAll ? Infinity : this.most;
  }

  /** Take the first entries, those that somebody has opened, and the first of the urgent ones. */
  first(entries, urgent) {
    const isOpen = ({ id }) => this.rows.get(id)?.details.open;
    const listed = new Set(urgent.slice(0, MOST_URGENT));
    const isListed = (entry, index) => index < this.limit || listed.has(entry) || isOpen(entry);
    return entries.filter(isListed);
  }

  /** Show the first of these entries, in this order; gives whether some are left to write. */
  show(entries, urgent = []) {
    const wanted = this.first(entries, urgent);
    const focused = document.activeElement;
    const hadFocus = focused && this.list.contains(focused);
    this.drop(wanted);
    const isMore = this.place(wanted);
    if (hadFocus && focused.isConnected && document.activeElement !== focused) {
      focused.focus({ preventScroll: true });
    }
    this.offer(entries.length);
    return isMore;
  }

  drop(wanted) {
    const there = new Set(wanted.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (!there.has(id)) this.remove(id, row);
      else if (this.moved.has(id)) row.item.remove();
    }
    this.moved.clear();
    for (const id of this.changed) if (!there.has(id)) this.changed.delete(id);
  }

  place(wanted) {
    let left = MOST_WRITTEN;
    let next = this.list.firstElementChild;
    let isMore = false;
    for (const entry of wanted) {
      const known = this.rows.get(entry.id);
      if (!known || this.changed.has(entry.id)) {
        if (left > 0) this.write(entry, known);
        else isMore = true;
        left -= 1;
      }
      const row = this.rows.get(entry.id);
      if (!row) continue;
      if (row.item === next) next = next.nextElementSibling;
      else this.list.insertBefore(row.item, next);
    }
    return isMore;
  }

  write(entry, known) {
    const row = known ?? this.makeRow(entry);
    row.update(entry);
    this.rows.set(entry.id, row);
    this.changed.delete(entry.id);
  }

  /** Take a row out; focus that was in it goes on to a neighbour. */
  remove(id, row) {
    if (row.item.contains(document.activeElement)) neighbour(row.item)?.focus();
    row.item.remove();
    this.rows.delete(id);
  }

  /** Offer the rest behind a button. */
  offer(number) {
    const rest = number - this.most;
    show(this.button, rest > 0);
    this.list.classList.toggle("all", this.showsAll && rest > 0);
    if (rest <= 0) return;
    write(this.button, this.showsAll ? "Show fewer" : `Show ${rest} more ${this.things}`);
    const expanded = String(this.showsAll);
    if (this.button.getAttribute("aria-expanded") !== expanded) {
      this.button.setAttribute("aria-expanded", expanded);
    }
  }
}

/** Find what is to have the focus once a row has gone. */
function neighbour(item) {
  const other = item.nextElementSibling ?? item.previousElementSibling;
  return other?.querySelector("summary") ?? document.getElementById("filter");
}

/** Make an element have so many children, keeping old ones, and let each be written. */
export function fill(parent, number, tag, each) {
  while (parent.children.length > number) parent.lastChild.remove();
  while (parent.children.length < number) make(tag, "", parent);
  for (let index = 0; index < number; index += 1) each(parent.children[index], index);
}
