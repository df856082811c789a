// The status page: takes in the guard's events and shows them.

import { Announcer } from "./announcer.js";
import { Decisions } from "./decisions.js";
import { Filter } from "./filter.js";
import { soon } from "./frames.js";
import { Hour } from "./hour.js";
import { Link } from "./link.js";
import { Neighbours } from "./neighbours.js";
import { Rooms } from "./rooms.js";
import { isFull } from "./states.js";
import { at, count, make, moment, plainly, show, write } from "./text.js";

const UNENFORCED_SECONDS = 90; // it is recorded once a minute for as long as it lasts
const RED_SECONDS = 600;
const TYPING_MILLISECONDS = 800;
const LOOK_MILLISECONDS = 10_000;
const NAME = "lotus-guard";
const LIVE = "Live calls";

const node = (id) => document.getElementById(id);
const list = (name) => ({
  list: node(`${name}-list`),
  note: node(`${name}s-note`),
  button: node(`${name}s-more`),
});
let skew = 0; // the guard's clock less ours, in seconds
const now = () => Date.now() / 1000 + skew;

const announcer = new Announcer(node("announcer"));
const announce = (text) => announcer.say(text);
const rooms = new Rooms(list("room"), now, (id) => decisions.relabel(id), (numbers) =>
  filter.count(numbers),
);
const decisions = new Decisions(list("decision"), (id) => rooms.label(id));
const hour = new Hour({ charts: node("charts"), note: node("hour-note"), details: node("minutes") }, now);
const neighbours = new Neighbours(
  { list: node("dependencies"), troubles: node("troubles"), notes: node("details") },
  now,
);
const filter = new Filter(node("filter"), node("chips"), filtered);
let guard = null;

const handlers = {
  hello(data) {
    skew = data.now - Date.now() / 1000;
    if (guard && guard.started !== data.guard.started) decisions.clear();
    guard = data.guard;
    neighbours.store = guard.store ?? neighbours.store;
    rooms.replace(data.rooms);
    decisions.add(data.decisions);
    hour.replace(data.hour ?? []);
    neighbours.update(data.dependencies);
    showGuard();
    soon(showTotals);
  },
  rooms(data) {
    rooms.change(data.changed, data.gone);
    soon(showTotals);
  },
  decisions(data) {
    const open = decisions.add(data.new).filter(({ kind }) => kind === "fail_open");
    if (open.length) announce(`Rules not enforced for ${count(open.length, "join", "joins")}.`);
    soon(showTotals);
  },
  dependencies(data) {
    neighbours.update(data).forEach(announce);
    soon(showTotals);
  },
  hour(data) {
    hour.add(data);
    soon(showTotals);
  },
  beat(data) {
    skew = data.now - Date.now() / 1000;
  },
};

function showTotals() {
  const all = rooms.all;
  const calls = all.filter((room) => room.people);
  const people = calls.reduce((sum, room) => sum + room.people, 0);
  const full = all.filter(isFull).length;
  const parts = [];
  if (!calls.length) parts.push("No calls at the moment.");
  else parts.push(`${count(people, "person", "people")} in ${count(calls.length, "room", "rooms")}.`);
  if (full) parts.push(`${count(full, "room is", "rooms are")} full.`);
  if (neighbours.summary) parts.push(neighbours.summary);
  write(node("lead"), parts.join(" "));
  write(node("rooms-count"), String(all.length));
  write(node("decisions-count"), String(decisions.groups.all.length));
  showAlarms();
}

function showAlarms() {
  const last = decisions.newest("fail_open");
  const number = Math.max(hour.sum("unguarded"), last && now() - last.at < 3600 ? 1 : 0);
  if (number) {
    let text = `Rules not enforced for ${count(number, "join", "joins")} in the last hour`;
    if (last) {
      const place = last.room === null ? "" : ` in ${rooms.label(last.room)}`;
      text += `, the latest at ${moment(last.at)}${place}: ${plainly(last.why)}`;
    }
    write(node("alarm"), `${text}.`);
    node("alarm").classList.toggle("notice", Boolean(last) && now() - last.at > RED_SECONDS);
  }
  show(node("alarm"), number > 0);
  const title = number ? `(${number}) ${NAME}` : NAME;
  if (document.title !== title) document.title = title;
  showUnenforced();
}

/** Show that running calls are left alone; nobody need have asked for anything. */
function showUnenforced() {
  const last = decisions.newest("unenforced");
  const isLasting = Boolean(last) && now() - last.at < UNENFORCED_SECONDS;
  if (isLasting) {
    const text = "Rules are not enforced in running calls. This alone lets nobody in.";
    const latest = `Latest: ${last.rule}, ${moment(last.at)}: ${plainly(last.why)}.`;
    write(node("unenforced"), `${text} ${latest}`);
  }
  show(node("unenforced"), isLasting);
}

function showGuard() {
  const { rules, titles, instance, pid, started, version } = guard;
  node("rules").textContent = "";
  for (const [rule, mode] of Object.entries(rules ?? {})) {
    const isEnforced = mode === "enforce";
    const item = make("li", isEnforced ? "enforced" : "observed", node("rules"));
    write(make("span", "", item), titles?.[rule] ?? (rule === "live" ? LIVE : rule));
    item.append(" ");
    write(make("span", "mode", item), isEnforced ? "enforced" : "observed only");
  }
  const since = started ? `, running since ${at(started)}` : "";
  const named = version ? `${NAME} ${version}. ` : "";
  write(node("process"), `${named}Guard ${instance}, process ${pid}${since}.`);
}

let typed = 0;

function filtered(wanted) {
  rooms.filter(wanted);
  decisions.filter(wanted);
  clearTimeout(typed);
  if (!wanted.words.length && !wanted.states.length) return;
  const tell = () => announce(`${count(rooms.fitting, "room", "rooms")} found.`);
  typed = setTimeout(tell, TYPING_MILLISECONDS);
}

const link = new Link(node("link"), handlers, announce);
let looked = 0;

/** Show what changes because time passes. */
function tick() {
  link.watch();
  neighbours.showAges();
  showUnenforced();
  announcer.speak();
  if (performance.now() - looked < LOOK_MILLISECONDS) return;
  looked = performance.now();
  rooms.rerank();
  hour.draw();
  soon(showTotals);
}

link.connect();
setInterval(tick, 1000);
