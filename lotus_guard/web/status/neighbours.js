// What the guard depends on: how each does, and what to do about one that is down.

import { ago, at, make, plainly, show, write } from "./text.js";

const NAMES = {
  upstream: "lk-jwt-service",
  synapse: "Synapse",
  livekit: "LiveKit",
  store: "State file",
  loop: "Live loop",
  webhooks: "LiveKit\u2019s webhooks",
  pushes: "Synapse module",
  clock: "This machine\u2019s clock",
};
const STATES = { ok: "OK", trouble: "down", unknown: "not known", off: "off" };
const BAD = { store: "failing", loop: "failing", pushes: "failing", clock: "wrong" };
const PAGE = "docs/troubleshooting.md";
const ADVICE = {
  "lk-jwt-service": "Nobody gets a token until it answers. See that it runs, and that LOTUS_GUARD_UPSTREAM is its address.",
  Synapse: "See that it runs, that LOTUS_GUARD_SYNAPSE_URL reaches it, and that its access token is valid.",
  LiveKit: "See that it runs, that LOTUS_GUARD_LIVEKIT_URL reaches it, and that it knows the key and secret.",
  Redis: "See that it runs, and check LOTUS_GUARD_STATE. Meanwhile each guard works alone.",
  "State file": "Free disk space, or correct LOTUS_GUARD_STATE. Calls continue.",
  "Live loop": "Running calls stay as they are. The log says why passes fail.",
  "Synapse module": "Meanwhile the guard asks for room state itself, and notices changes later.",
  "This machine\u2019s clock": "Let chrony or systemd-timesyncd set it, here and where LiveKit runs.",
};
const ANCHORS = {
  "Live loop": "lotusguardloopstuck",
  "Synapse module": "lotusguardpushesstopped",
  "This machine\u2019s clock": "lotusguardclock",
};

/** Keeps the dependencies; `places` are the lists of all, of those that are down, and of notes. */
export class Neighbours {
  constructor(places, now) {
    this.places = places;
    this.now = now;
    this.store = NAMES.store;
    this.all = [];
    this.cells = new Map();
  }

  nameOf(name) {
    return name === "store" ? this.store : (NAMES[name] ?? name);
  }

  wordFor({ name, state }) {
    return (state === "trouble" && BAD[name]) || (STATES[state] ?? state);
  }

  /** Those that are down, in a sentence; "" where none is.
   *
   * Without lk-jwt-service nobody gets in; whether calls go on without LiveKit, the guard can't see.
   */
  get summary() {
    const down = this.all.filter(({ state }) => state === "trouble");
    const words = down.map((each) => `${this.nameOf(each.name)} is ${this.wordFor(each)}`);
    if (!words.length) return "";
    const names = new Set(down.map(({ name }) => name));
    let effect = "; calls continue.";
    if (names.has("upstream")) effect = "; nobody can join a call.";
    else if (names.has("livekit")) effect = ".";
    return words.join(", ") + effect;
  }

  /** Take in how all do; gives sentences on those that went down or came back. */
  update(all) {
    const before = new Map(this.all.map((each) => [each.name, each.state]));
    this.all = all;
    for (const each of all) this.draw(each);
    this.showAges();
    const isNews = ({ name, state }) =>
      before.has(name) &&
      before.get(name) !== state &&
      (state === "trouble" || before.get(name) === "trouble");
    return all.filter(isNews).map((each) => `${this.nameOf(each.name)}: ${this.wordFor(each)}.`);
  }

  draw(each) {
    const { name, state, detail } = each;
    if (!this.cells.has(name)) this.cells.set(name, this.makeCell());
    const cell = this.cells.get(name);
    const isDown = state === "trouble";
    const label = this.nameOf(name);
    if (cell.item.dataset.state !== state) cell.item.dataset.state = state;
    write(cell.what, label);
    write(cell.state, this.wordFor(each));
    write(cell.sentence, isDown ? this.sentence(each) : "");
    write(cell.advice, isDown && ADVICE[label] ? `${ADVICE[label]} ` : "");
    write(cell.page, isDown && ADVICE[label] ? `${PAGE}#${anchor(label)}` : "");
    show(cell.trouble, isDown);
    write(cell.note, `${label}: ${plainly(detail)}`);
    show(cell.note, !isDown && detail !== "");
  }

  sentence(each) {
    const { name, since, down_since: down, detail } = each;
    const parts = [`${this.nameOf(name)}: ${this.wordFor(each)}`];
    if (down) parts[0] += ` since ${at(down)}`;
    if (since) parts.push(`last OK ${at(since)}`);
    const told = parts.join(", ");
    return detail ? `${told}: ${plainly(detail)}` : told;
  }

  makeCell() {
    const { list, troubles, notes } = this.places;
    const item = make("li", "", list);
    const what = make("span", "what", item);
    const line = make("span", "how", item);
    make("span", "mark", line).setAttribute("aria-hidden", "true");
    const state = make("span", "", line);
    const age = make("span", "", line);
    const trouble = make("li", "", troubles);
    const sentence = make("strong", "", trouble);
    const advice = make("span", "advice", trouble);
    const page = make("code", "", trouble);
    return { item, what, state, age, trouble, sentence, advice, page, note: make("li", "", notes) };
  }

  showAges() {
    for (const { name, state, since } of this.all) {
      const isTold = since !== null && state !== "trouble"; // of one that is down, a sentence tells
      const last = isTold ? `, ${state === "ok" ? "" : "last OK "}${ago(this.now() - since)}` : "";
      write(this.cells.get(name).age, last);
    }
  }
}

/** The part of an address that leads to a heading. */
function anchor(label) {
  return ANCHORS[label] ?? label.toLowerCase().replaceAll(" ", "-");
}
