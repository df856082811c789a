// Shows who is in the call and what the guard did, and looks again while the page is seen.

import { at, make, say, write, writeNaming } from "./dom.js";

const PAUSE = 10_000;
const LONG_PAUSE = 60_000;
const FINAL = ["guard-outside", "guard-powerless", "guard-unvouched", "not-vouched"];

/** Where the reader lives, if that is known: the same language writes dates in several ways. */
const localeOf = (language) =>
  navigator.languages.find((each) => each.split("-")[0] === language) ?? language;

/** The part of the page about the call that runs. */
export class People {
  /** `onFound` is told all that the guard tells. */
  constructor(t, guard, room, onFound = () => {}) {
    this._t = t;
    this._guard = guard;
    this._room = room;
    this._onFound = onFound;
    this._timer = null;
    this._isOver = false;
    this._again = () => this.look();
    this._seen = () => document.hidden || this._timer === null || this.look();
    at("call-again").addEventListener("click", this._again);
    document.addEventListener("visibilitychange", this._seen);
  }

  /** End it; nothing is looked for any more. */
  close() {
    this._isOver = true;
    clearTimeout(this._timer);
    at("call-again").removeEventListener("click", this._again);
    document.removeEventListener("visibilitychange", this._seen);
  }

  /** Look now, and again later. */
  async look() {
    clearTimeout(this._timer);
    this._timer = null;
    let pause = PAUSE;
    try {
      const found = await this._guard.look(this._room());
      this._onFound(found);
      if (!this._isOver) this._show(found);
    } catch (trouble) {
      pause = FINAL.includes(trouble.kind) ? 0 : LONG_PAUSE;
      if (!this._isOver) this._tell(trouble, pause === 0);
    }
    if (pause && !this._isOver) this._timer = setTimeout(() => document.hidden || this.look(), pause);
  }

  _tell(trouble, isFinal) {
    const t = this._t;
    say(at("call-trouble"), t(`trouble.${trouble.kind ?? "unexpected"}`, trouble.fields));
    at("call-again").hidden = !isFinal;
    if (!isFinal) return;
    say(at("call-count"), "");
    at("call-people").textContent = "";
    at("done").hidden = true;
  }

  _show(found) {
    const t = this._t;
    say(at("call-trouble"), "");
    at("call-again").hidden = true;
    const n = Number(found.count) || 0;
    const limit = Number.isInteger(found.limit) ? found.limit : null;
    const there = limit === null ? t("call.people", { n }) : t("call.of", { n, limit });
    say(at("call-count"), n === 0 ? t("call.nobody") : there);
    fillList(at("call-people"), found.people ?? [], (item, user) => write(make("bdi", item), user));
    fillList(at("decisions"), found.decisions ?? [], (item, each) => this._decision(item, each));
    at("no-decisions").hidden = at("decisions").childElementCount > 0;
    at("done").hidden = false;
  }

  _decision(item, { at: when, kind, rule, observed, user }) {
    const t = this._t;
    const keys = [`did.${kind}.${rule}`, `did.${kind}`, "did.other"];
    const sentence = t(keys.find((key) => t.has(key)));
    const date = new Date(when * 1000);
    const how = { dateStyle: "medium", timeStyle: "short" };
    const time = make("time", item);
    time.dateTime = date.toISOString();
    time.textContent = new Intl.DateTimeFormat(localeOf(t.language), how).format(date);
    writeNaming(make("span", item), sentence, user ?? t("somebody"));
    if (observed) item.append(` ${t("observed")}`);
  }
}

/** Fill a list anew, only where it is another than before: a selection in it stays. */
function fillList(list, values, write) {
  const shown = JSON.stringify(values);
  if (list.dataset.shown === shown && list.childElementCount === values.length) return;
  list.dataset.shown = shown;
  list.textContent = "";
  for (const value of values) write(make("li", list), value);
}
