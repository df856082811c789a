// The panel: finds the room, shows its rules, saves what was changed, and shows who is in the call.

import { askForRoom } from "./alone.js";
import { at, make, write } from "./dom.js";
import { Form } from "./form.js";
import { Guard, guardUrl } from "./guard.js";
import { People } from "./people.js";
import { Power } from "./power.js";
import { EVENTS, FIELDS, differing, lifts, merged, same, typos, valuesOf, written } from "./rules.js";
import { chosen, fill, load } from "./texts.js";
import { patiently } from "./trouble.js";
import { Widget } from "./widget.js";

const LEVELS = "m.room.power_levels";
const CREATE = "m.room.create";
const NAME = "m.room.name";

/** What the client that frames us has put into our address; what it left as it was is nothing. */
function given() {
  const inHash = new URLSearchParams(location.hash.replace(/^#\/?\??/, ""));
  const inQuery = new URLSearchParams(location.search);
  return (name) => {
    const value = inHash.get(name) ?? inQuery.get(name);
    return value && !value.startsWith("$") ? value : null;
  };
}

class Panel {
  constructor(t) {
    this._t = t;
    this._form = new Form(t, () => this._changed());
    this._source = null;
    this._base = null;
    this._isBusy = false;
    this._givesBack = false;
    at("rules").addEventListener("submit", (event) => {
      event.preventDefault();
      this._save();
    });
    at("undo").addEventListener("click", () => this._undo());
    at("leave").addEventListener("click", () => location.reload());
  }

  /** Show a room. */
  async open(source, name = null) {
    this._source = source;
    await this._read();
    this._power = new Power(await source.read(LEVELS), await source.read(CREATE));
    this._form.know(this._power, source.user);
    this._undo();
    if (name) this._title(await name());
    at("opened").hidden = false;
    const guard = new Guard(guardUrl(), () => source.openId(), (user) => this._userIs(user));
    const learn = (found) => {
      this._givesBack = found.gives_back === true;
    };
    new People(this._t, guard, () => source.room, learn).look();
  }

  /** Read the rules again after somebody has changed them, where nothing is lost by that. */
  async refresh() {
    if (this._isBusy || !this._base || this._names().length) return;
    try {
      await this._read();
      this._undo();
    } catch {
      // Whoever saves is told what has changed since.
    }
  }

  /** Show what went wrong. */
  tell(trouble) {
    if (!trouble.kind) throw trouble;
    this.warn([this._t(`trouble.${trouble.kind}`, trouble.fields)]);
  }

  /** Show a warning: a sentence, and what it is about. */
  warn([sentence, ...rest]) {
    const box = at("trouble");
    box.textContent = "";
    box.hidden = !sentence;
    if (!sentence) return;
    write(make("p", box), sentence);
    if (rest.length) {
      const list = make("ul", box);
      for (const each of rest) write(make("li", list), each);
    }
    box.scrollIntoView({ block: "nearest" });
  }

  /** Show what is being done; an empty text where nothing is. */
  status(key, fields = {}, isGood = false) {
    write(at("status"), key ? this._t(key, fields) : "");
    at("status").classList.toggle("good", isGood);
  }

  _title(event) {
    const name = event?.content?.name;
    write(at("room"), typeof name === "string" && name ? name : this._source.room);
    at("where").hidden = at("leave").hidden = false;
  }

  _userIs(user) {
    if (this._source.user === null) {
      this._source.user = user;
      this._form.know(this._power, user);
      this._changed();
    }
  }

  async _contents() {
    const contents = {};
    for (const type of EVENTS) {
      const content = (await this._source.read(type))?.content;
      const isObject = typeof content === "object" && content !== null && !Array.isArray(content);
      contents[type] = isObject ? content : {};
    }
    return contents;
  }

  async _read() {
    this._base = await this._contents();
    for (const type of EVENTS) this._form.complain(type, typos(type, this._base[type]));
  }

  _names() {
    return differing(valuesOf(this._base), this._form.values());
  }

  _changed() {
    const isChanged = this._names().length > 0;
    at("save").disabled = at("undo").disabled = !isChanged || this._isBusy;
    at("unsaved").hidden = !isChanged;
    at("rules").classList.toggle("changed", isChanged);
    if (isChanged) this.status("");
  }

  _undo() {
    this._form.show(valuesOf(this._base));
    this.warn([]);
    this._changed();
  }

  async _save() {
    const wrong = this._form.wrong();
    if (wrong) {
      wrong.focus();
      return;
    }
    if (this._isBusy || !this._names().length) return;
    this._isBusy = true;
    this.warn([]);
    this._changed();
    this.status("saving");
    try {
      if (await this._isNews()) this.status("");
      else {
        const isLifted = lifts(valuesOf(this._base), this._form.values());
        await this._send();
        if (isLifted && !this._givesBack) this.status("saved-lifted", {}, true);
        else this.status("saved", {}, true);
      }
    } catch (trouble) {
      this.status("");
      this.tell(trouble);
    } finally {
      this._isBusy = false;
      this._changed();
    }
  }

  /** Look whether somebody has changed the rules since; then join both, and warn before saving. */
  async _isNews() {
    const before = valuesOf(this._base);
    const theirs = await this._contents();
    if (same(theirs, this._base)) return false;
    const { values, taken, clashing } = merged(before, this._form.values(), valuesOf(theirs));
    this._base = theirs;
    this._form.show(values);
    for (const type of EVENTS) this._form.complain(type, typos(type, theirs[type]));
    if (!taken.length && !clashing.length) return false;
    const name = (field) => this._t(`field.${field}`);
    this.warn([
      this._t("changed-meanwhile"),
      ...taken.map((field) => this._t("changed.taken", { field: name(field) })),
      ...clashing.map((field) => this._t("changed.clashing", { field: name(field) })),
    ]);
    return true;
  }

  /** Send each event in which something changed; what is saved is the new base at once. */
  async _send() {
    const values = this._form.values();
    const names = this._names();
    for (const type of EVENTS) {
      const inIt = names.filter((name) => FIELDS[name].event === type);
      if (!inIt.length) continue;
      const made = written(this._base, values, inIt);
      await patiently(
        () => this._source.send(type, made[type]),
        (n) => this.status("waiting", { n }),
      );
      this._base = made;
      this._form.complain(type, typos(type, made[type]));
    }
  }
}

function followTheme(name) {
  const theme = ["dark", "light"].find((each) => name.toLowerCase().includes(each));
  if (theme) document.documentElement.dataset.theme = theme;
}

async function inFrame(panel, widget, approved) {
  panel.status("waiting-for-client");
  try {
    const missing = await approved;
    panel.status("");
    if (missing.some((each) => each.includes(".receive."))) {
      panel.warn([panel._t("trouble.not-allowed")]);
      return;
    }
    await panel.open(widget);
  } catch (trouble) {
    panel.status("");
    panel.tell(trouble);
  }
}

function onItsOwn(panel) {
  askForRoom({
    open: (homeserver) => panel.open(homeserver, () => homeserver.read(NAME)),
    tell: (trouble) => panel.tell(trouble),
    busy: (isBusy) => {
      panel.status(isBusy ? "opening" : "");
      if (isBusy) panel.warn([]);
    },
  });
}

const parameter = given();
followTheme(parameter("theme") ?? "");
const isFramed = window.parent !== window;
let panel = null;
const widget = new Widget(window.parent, {
  id: parameter("widgetId"),
  room: parameter("roomId"),
  user: parameter("userId"),
  types: [...EVENTS, LEVELS, CREATE],
  sent: EVENTS,
  on: { theme: followTheme, news: () => panel?.refresh() },
});
// Clients ask once the page is there, and only once: before anything else is waited for.
const approved = isFramed ? widget.start() : null;
approved?.catch(() => {});
const t = await load(chosen([parameter("lang"), ...navigator.languages].filter(Boolean)));
fill(t);
panel = new Panel(t);
if (isFramed) await inFrame(panel, widget, approved);
else onItsOwn(panel);
