// The form of a room's rules: shows values, reads them, and says of each what it means.

import { at, say } from "./dom.js";
import { FIELDS, LIMIT, MOST, QUALITY } from "./rules.js";

const COUNTS = ["people", "cameras"];
const SWITCHES = ["camera", "screen"];
const EXEMPTIONS = ["limitExempt", "qualityExempt"];
const USUAL = { people: 5, cameras: 4, level: 50 };
const BOX = { [LIMIT]: "limit", [QUALITY]: "quality" };

/** The form; `power` and `user` say what may be set, and what levels mean here. */
export class Form {
  constructor(t, onChange) {
    this._t = t;
    this._power = null;
    this._user = null;
    this._besides = {}; // the levels that are exempt besides whoever may set an event
    const form = at("rules");
    for (const kind of ["input", "change"]) {
      form.addEventListener(kind, () => {
        this._adapt();
        onChange();
      });
    }
    for (const button of form.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        const entry = at(button.dataset.for);
        const next = (whole(entry.value) ?? 0) + Number(button.dataset.step);
        entry.value = String(Math.min(MOST, Math.max(1, next)));
        this._adapt();
        onChange();
      });
    }
  }

  /** Show who sets the rules, and in which room. */
  know(power, user) {
    this._power = power;
    this._user = user;
    this._adapt();
  }

  /** Show values. */
  show(values) {
    for (const name of COUNTS) {
      at(`${name}-on`).checked = values[name] !== null;
      at(name).value = String(values[name] ?? USUAL[name]);
    }
    for (const name of SWITCHES) at(name).checked = values[name];
    at("start").value = values.start === null ? "everybody" : "level";
    at("start-level").value = String(values.start ?? USUAL.level);
    for (const name of EXEMPTIONS) {
      at(name).value = values[name].who;
      at(`${name}-level`).value = String(values[name].level ?? USUAL.level);
      this._besides[name] = values[name].who === "setters" ? values[name].level : null;
    }
    this._adapt();
  }

  /** The values as they stand; null in place of a number that is none. */
  values() {
    const levelOf = (name) => whole(at(`${name}-level`).value);
    const found = { start: at("start").value === "level" ? levelOf("start") : null };
    for (const name of COUNTS) found[name] = at(`${name}-on`).checked ? whole(at(name).value) : null;
    for (const name of SWITCHES) found[name] = at(name).checked;
    for (const name of EXEMPTIONS) {
      const who = at(name).value;
      const levels = { level: levelOf(name), setters: this._besides[name] ?? null };
      found[name] = { who, level: levels[who] ?? null };
    }
    return found;
  }

  /** The first entry that cannot be saved as it stands; null where all can. */
  wrong() {
    return document.querySelector('#rules fieldset:enabled [aria-invalid="true"]');
  }

  /** Show in which of an event's fields something stands that means nothing. */
  complain(event, names) {
    const text = names.length ? this._t("typo", { names: names.join(", ") }) : "";
    say(at(`${BOX[event]}-typo`), text);
  }

  /** Bring all that depends on the values in line with them. */
  _adapt() {
    for (const event of [LIMIT, QUALITY]) this._lock(event);
    for (const name of COUNTS) {
      const isOn = at(`${name}-on`).checked;
      at(`${name}-box`).hidden = !isOn;
      const number = whole(at(name).value);
      const isWrong = isOn && (number === null || number < 1 || number > MOST);
      this._hint(name, isOn ? `${name}.on` : `${name}.off`, { n: number }, isWrong && "number");
    }
    for (const name of SWITCHES) this._hint(name, `${name}.${at(name).checked ? "on" : "off"}`);
    this._level("start", at("start").value === "level");
    for (const name of EXEMPTIONS) this._level(name, at(name).value === "level");
  }

  _level(name, isLevel) {
    const entry = at(`${name}-level`);
    entry.hidden = !isLevel;
    const n = whole(entry.value);
    const event = FIELDS[name].event;
    const everybody = this._power?.usersDefault ?? 0;
    // A level that everybody has leaves nobody bound, or exempt: the guard takes it for a typo.
    const isTooLow = isLevel && n !== null && n <= everybody;
    const wrong = isLevel && n === null ? "number" : isTooLow && "too-low";
    const about = name === "start" ? "start" : `exempt.${BOX[event]}`;
    const besides = this._besides[name] ?? null;
    const set = this._power?.needed(event) ?? 50;
    const needed = besides !== null && besides > everybody ? Math.min(set, besides) : set;
    const fields = { level: n, everybody, needed };
    this._hint(name, `${about}.${at(name).value}.hint`, fields, wrong, entry);
  }

  _hint(name, key, fields = {}, wrong = false, entry = at(name)) {
    const hint = at(`${name}-hint`);
    say(hint, this._t(wrong ? `wrong.${wrong}` : key, fields));
    hint.classList.toggle("wrong", Boolean(wrong));
    if (wrong) entry.setAttribute("aria-invalid", "true");
    else entry.removeAttribute("aria-invalid");
  }

  _lock(event) {
    const isLocked = this._power !== null && !this._power.allows(this._user, event);
    at(BOX[event]).disabled = isLocked;
    const needed = this._power?.needed(event);
    const level = this._power?.of(this._user);
    const text = isLocked ? this._t("locked", { needed, level }) : "";
    say(at(`${BOX[event]}-locked`), text);
  }
}

function whole(text) {
  return /^[+-]?\d{1,9}$/.test(text.trim()) ? Number(text) : null;
}
