// The connection to the guard. No event for a minute is no proof of health, so the page says how old
// its picture is as soon as it does not know better.

import { lasting, write } from "./text.js";

const EVENTS = "status/events";
const SILENT_SECONDS = 35; // two heartbeats, and some
const AGAIN_SECONDS = 3;

const seconds = () => performance.now() / 1000;

/** Listens to the guard; `handlers` take each event's data, `announce` what is to be read out. */
export class Link {
  constructor(node, handlers, announce) {
    this.node = node;
    this.handlers = handlers;
    this.announce = announce;
    this.source = null;
    this.begun = 0;
    this.heard = null; // when the last event came
    this.isTold = false; // whether one has come by the connection that is open
    this.trouble = ""; // why the guard cannot describe itself
    this.refusal = ""; // why it does not let us watch
  }

  connect() {
    this.source?.close();
    this.begun = seconds();
    this.isTold = false;
    const mine = new EventSource(EVENTS);
    this.source = mine;
    for (const [name, handle] of Object.entries(this.handlers)) {
      mine.addEventListener(name, (event) => {
        this.heard = seconds();
        this.isTold = true;
        this.trouble = this.refusal = "";
        handle(JSON.parse(event.data));
        this.show();
      });
    }
    mine.addEventListener("trouble", (event) => {
      this.trouble = JSON.parse(event.data).why;
      this.show();
    });
    mine.addEventListener("error", () => {
      this.isTold = false;
      this.show();
      if (mine === this.source && mine.readyState === EventSource.CLOSED) this.askWhy();
    });
  }

  /** Ask why we were turned away; an EventSource is not told. */
  async askWhy() {
    const control = new AbortController();
    try {
      const answer = await fetch(EVENTS, { signal: control.signal });
      if (!answer.ok) this.refusal = (await answer.text()).trim().slice(0, 300);
    } catch {
      this.refusal = "";
    }
    control.abort();
    this.show();
  }

  /** Try again where a browser does not: after a refusal, and when nothing is heard any more. */
  watch() {
    const quiet = seconds() - Math.max(this.begun, this.heard ?? 0);
    const isClosed = this.source.readyState === EventSource.CLOSED;
    const isRefused = isClosed && seconds() - this.begun > AGAIN_SECONDS;
    if (isRefused || (quiet > SILENT_SECONDS && !this.trouble)) this.connect();
    this.show();
  }

  show() {
    const { heard, trouble, refusal, node } = this;
    const isLive = this.isTold && !trouble && seconds() - heard <= SILENT_SECONDS;
    let text = "Live";
    if (!isLive) {
      const age = heard === null ? "" : ` Last update ${lasting(seconds() - heard)} ago.`;
      text = `${trouble || refusal || (heard === null ? "Connecting." : "Connection lost.")}${age}`;
      if (!trouble && heard !== null) text += " Trying again.";
    }
    const state = isLive ? "live" : heard === null && !refusal && !trouble ? "waiting" : "lost";
    if (node.dataset.state !== state) {
      if (state === "lost") this.announce("The connection to the guard is lost.");
      else if (node.dataset.state === "lost") this.announce("The page is live again.");
      node.dataset.state = state;
    }
    write(node, text);
  }
}
