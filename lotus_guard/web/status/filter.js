// What somebody wants to see: the words that they typed, and the states that they chose.

import { make, show, write } from "./text.js";
import { STATES } from "./states.js";

const ALWAYS = new Set(["unguarded", "full", "refused", "changed"]);

/** The filter; tells `onChange` of what is wanted, `{ words, states }`. */
export class Filter {
  constructor(input, chips, onChange) {
    this.input = input;
    this.onChange = onChange;
    this.chosen = new Set();
    this.chips = new Map();
    for (const name of Object.keys(STATES)) this.chips.set(name, this.makeChip(chips, name));
    input.addEventListener("input", () => this.changed());
  }

  makeChip(parent, name) {
    const chip = make("button", "chip", parent);
    chip.type = "button";
    chip.setAttribute("aria-pressed", "false");
    write(make("span", "", chip), name);
    chip.append(" ");
    const number = make("span", "number", chip);
    chip.addEventListener("click", () => this.toggle(name));
    show(chip, ALWAYS.has(name));
    return { chip, number };
  }

  toggle(name) {
    if (!this.chosen.delete(name)) this.chosen.add(name);
    this.chips.get(name).chip.setAttribute("aria-pressed", String(this.chosen.has(name)));
    this.changed();
  }

  changed() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.onChange({ words, states: [...this.chosen] });
  }

  /** Show how many rooms are in each state. */
  count(numbers) {
    for (const [name, { chip, number }] of this.chips) {
      write(number, String(numbers[name] ?? 0));
      show(chip, ALWAYS.has(name) || numbers[name] > 0 || this.chosen.has(name));
      chip.classList.toggle("none", !numbers[name]);
    }
  }
}
