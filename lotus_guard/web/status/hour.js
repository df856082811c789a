// The last hour: a small chart for each number, and all of them as a table.

import { at, count, make, show, write } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const MINUTES = 60;
const HEIGHT = 20;
const LEAST = 2; // the height of one in a minute in which there were thousands
const SERIES = {
  refused: "Refused",
  changed: "Changed",
  unguarded: "Unguarded",
  people: "People",
};

/** Keeps the charts; `now` gives the guard's time. */
export class Hour {
  constructor({ charts, note, details }, now) {
    this.now = now;
    this.note = note;
    this.details = details;
    this.minutes = new Map();
    this.charts = Object.entries(SERIES).map(([name, label]) => makeChart(charts, name, label));
    details.addEventListener("toggle", () => this.showTable());
  }

  replace(minutes) {
    this.minutes.clear();
    this.add(minutes);
  }

  add(minutes) {
    for (const minute of minutes) this.minutes.set(minute.at, minute);
    this.draw();
  }

  /** The sum of a number over the hour. */
  sum(name) {
    return this.slots().reduce((sum, minute) => sum + (minute?.[name] ?? 0), 0);
  }

  /** The minutes from an hour ago until now; null where the guard did not run. */
  slots() {
    const newest = Math.floor(this.now() / 60) * 60;
    for (const begun of this.minutes.keys()) {
      if (begun <= newest - MINUTES * 60) this.minutes.delete(begun);
    }
    return Array.from({ length: MINUTES }, (_, index) => {
      return this.minutes.get(newest - (MINUTES - 1 - index) * 60) ?? null;
    });
  }

  draw() {
    const slots = this.slots();
    for (const chart of this.charts) drawChart(chart, slots);
    const begun = slots.find(Boolean);
    const parts = [];
    if (begun && begun !== slots[0]) parts.push(`Recorded since ${at(begun.at)}.`);
    const observed = this.sum("observed");
    if (observed) parts.push(`${observed} of these changed nothing: the rule only observes.`);
    write(this.note, parts.join(" "));
    show(this.note, parts.length > 0);
    if (this.details.open) this.showTable();
  }

  showTable() {
    const old = this.details.querySelector("table");
    if (!this.details.open) {
      old?.remove();
      return;
    }
    const table = make("table", "");
    const head = make("tr", "", make("thead", "", table));
    for (const label of ["Minute", ...Object.values(SERIES)]) {
      const cell = make("th", "", head);
      cell.scope = "col";
      write(cell, label);
    }
    const body = make("tbody", "", table);
    for (const minute of this.slots().filter(Boolean).reverse()) {
      const row = make("tr", "", body);
      const begun = make("th", "", row);
      begun.scope = "row";
      write(begun, at(minute.at));
      for (const name of Object.keys(SERIES)) write(make("td", "", row), String(minute[name] ?? "–"));
    }
    if (old) old.replaceWith(table);
    else this.details.append(table);
  }
}

function makeChart(parent, name, label) {
  const item = make("li", `chart ${name}`, parent);
  const head = make("span", "figure", item);
  write(make("span", "what", head), label);
  head.append(" ");
  const number = make("span", "number", head);
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${MINUTES} ${HEIGHT}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  const path = document.createElementNS(SVG, "path");
  picture.append(path);
  item.append(picture);
  return { name, label, item, number, picture, path, peak: make("span", "peak", item) };
}

function drawChart({ name, label, item, number, picture, path, peak }, slots) {
  const values = slots.map((minute) => minute?.[name] ?? 0);
  const isLevel = name === "people";
  const most = Math.max(...values);
  // People are counted a few times a minute: of the one that has just begun there may be none yet.
  const shown = isLevel ? (slots.at(-1) ?? slots.at(-2))?.people ?? 0 : values.reduce((a, b) => a + b);
  const when = most ? at(slots[values.lastIndexOf(most)].at) : "";
  const highest = isLevel ? `peak ${most} at ${when}` : `peak ${most} a minute at ${when}`;
  write(number, shown.toLocaleString("en"));
  write(peak, most ? highest : "none");
  item.classList.toggle("none", !most);
  setAttribute(path, "d", values.map((value, index) => bar(value, index, most)).join(""));
  const told = isLevel ? `${count(shown, "person", "people")} now` : `${shown} in the last hour`;
  setAttribute(picture, "aria-label", `${label}: ${told}${most ? `, ${highest}` : ""}`);
}

function bar(value, index, most) {
  if (!value) return "";
  const top = HEIGHT - Math.max(LEAST, (HEIGHT * value) / most);
  return `M${index + 0.1} ${HEIGHT}V${top.toFixed(1)}h.8V${HEIGHT}z`;
}

function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
