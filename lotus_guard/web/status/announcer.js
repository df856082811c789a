// What is read out: little, and never more than once in a while.

import { make, write } from "./text.js";

const SECONDS = 10;
const MOST = 3;

/** Reads out what it is given, in `node`. */
export class Announcer {
  constructor(node) {
    this.node = node;
    this.said = -SECONDS;
    this.waiting = [];
  }

  say(text) {
    if (this.waiting.at(-1) !== text) this.waiting = [...this.waiting, text].slice(-MOST);
    this.speak();
  }

  speak() {
    const now = performance.now() / 1000;
    if (!this.waiting.length || now - this.said < SECONDS) return;
    this.said = now;
    const words = make("span"); // a new one, so that the same words are read out again
    write(words, this.waiting.join(" "));
    this.node.replaceChildren(words);
    this.waiting = [];
  }
}
