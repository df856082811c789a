// The status page: listens to the guard's events and shows them. No event for a minute is no proof
// of health, so the page says how old its picture is as soon as it does not know better.

import { Decisions } from "./decisions.js";
import { isFull, Rooms } from "./rooms.js";
import { ago, count, lasting, make, moment, show, write } from "./text.js";

const EVENTS = "status/events";
const SILENT_SECONDS = 35; // two heartbeats, and some
const AGAIN_SECONDS = 3;
const ANNOUNCE_SECONDS = 10;
const UNENFORCED_SECONDS = 90; // it is recorded once a minute for as long as it lasts

const LIVE = "Live calls";
const DEPENDENCIES = {
  upstream: "lk-jwt-service",
  synapse: "Synapse",
  livekit: "LiveKit",
  store: "State file",
  loop: "Live loop",
  webhooks: "LiveKit\u2019s webhooks",
  pushes: "Synapse module",
  clock: "This machine\u2019s clock",
};
const STATES = { ok: "well", trouble: "in trouble", unknown: "not known", off: "off" };

const at = (id) => document.getElementById(id);
const seconds = () => performance.now() / 1000;

// ---- the picture

let decisions = null;
const rooms = new Rooms(at("room-list"), at("rooms-note"), (id) => decisions?.relabel(id));
decisions = new Decisions(at("decision-list"), at("decisions-note"), (id) => rooms.label(id));
let dependencies = [];
const cells = new Map();
let skew = 0; // the guard's clock less ours, in seconds
let heard = null; // when the last event came
let isTold = false; // whether an event has come by the connection that is open
let trouble = ""; // why the guard cannot describe itself
let refusal = ""; // why it does not let us watch

function setClock(now) {
  skew = now - Date.now() / 1000;
}

const handlers = {
  hello(data) {
    setClock(data.now);
    rooms.replace(data.rooms);
    decisions.replace(data.decisions);
    dependencies = data.dependencies;
    showDependencies();
    showGuard(data.guard);
    showTotals();
  },
  rooms(data) {
    rooms.change(data.changed, data.gone);
    showTotals();
  },
  decisions(data) {
    const fresh = decisions.add(data.new).filter((decision) => decision.kind === "fail_open");
    if (fresh.length) announce(`${count(fresh.length, "call", "calls")} let through unguarded.`);
    showTotals();
  },
  dependencies(data) {
    const before = new Map(dependencies.map((each) => [each.name, each.state]));
    dependencies = data;
    showDependencies();
    showTotals();
    for (const { name, state } of data) {
      if (before.get(name) !== state && (state === "trouble" || before.get(name) === "trouble")) {
        announce(`${DEPENDENCIES[name] ?? name}: ${STATES[state] ?? state}.`);
      }
    }
  },
  beat(data) {
    setClock(data.now);
  },
};

// ---- what is shown of it

function showTotals() {
  const all = rooms.order.map((row) => row.room);
  const people = all.reduce((sum, room) => sum + room.people, 0);
  const full = all.filter(isFull).length;
  const parts = [];
  if (!all.length) parts.push("No calls at the moment.");
  else parts.push(`${count(people, "person", "people")} in ${count(all.length, "room", "rooms")}.`);
  if (full) parts.push(`${count(full, "room is", "rooms are")} full.`);
  const ill = dependencies.filter((each) => each.state === "trouble");
  if (ill.length) {
    const names = ill.map((each) => DEPENDENCIES[each.name] ?? each.name).join(" and ");
    parts.push(`${names} ${ill.length === 1 ? "is" : "are"} in trouble; calls go on.`);
  }
  write(at("lead"), parts.join(" "));
  showAlarm();
}

function showAlarm() {
  const open = decisions.ofKind("fail_open");
  if (open.length) {
    const all = count(decisions.rows.size, "decision", "decisions");
    const latest = `the latest at ${moment(open[0].at)} (${open[0].why})`;
    write(at("alarm"), `Let through unguarded: ${open.length} of the last ${all}, ${latest}.`);
  }
  show(at("alarm"), open.length > 0);
  const title = open.length ? `(${open.length}) lotus_guard` : "lotus_guard";
  if (document.title !== title) document.title = title;
  showUnenforced();
}

/** Show that running calls are left alone; nobody need have asked for anything. */
function showUnenforced() {
  const [last] = decisions.ofKind("unenforced");
  const isLasting = last && Date.now() / 1000 + skew - last.at < UNENFORCED_SECONDS;
  if (isLasting) {
    const text = "Rules are not being enforced in calls that run. Nobody is let through by this.";
    write(at("unenforced"), `${text} The latest: ${last.rule}, at ${moment(last.at)} (${last.why}).`);
  }
  show(at("unenforced"), Boolean(isLasting));
}

function showGuard(guard) {
  const entries = Object.entries(guard.rules ?? {});
  at("rules").textContent = "";
  for (const [rule, mode] of entries) {
    const item = make("li", mode === "enforce" ? "enforced" : "observed", at("rules"));
    write(make("span", "", item), guard.titles?.[rule] ?? (rule === "live" ? LIVE : rule));
    item.append(" ");
    write(make("span", "mode", item), mode === "enforce" ? "enforced" : "observed only");
  }
  const { instance, pid, started } = guard;
  const since = new Date((started ?? 0) * 1000).toLocaleString("en-GB");
  write(at("process"), `Guard ${instance}, process ${pid}${started ? `, since ${since}` : ""}`);
}

function showDependencies() {
  for (const each of dependencies) {
    if (!cells.has(each.name)) cells.set(each.name, makeCell(each.name));
    const cell = cells.get(each.name);
    if (cell.item.dataset.state !== each.state) cell.item.dataset.state = each.state;
    write(cell.state, STATES[each.state] ?? each.state);
    write(cell.detail, `${DEPENDENCIES[each.name] ?? each.name}: ${each.detail}`);
    cell.detail.dataset.state = each.state;
    show(cell.detail, each.detail !== "");
  }
  showAges();
}

function makeCell(name) {
  const item = make("li", "", at("dependencies"));
  write(make("span", "what", item), DEPENDENCIES[name] ?? name);
  const line = make("span", "how", item);
  make("span", "mark", line).setAttribute("aria-hidden", "true");
  const state = make("span", "", line);
  return { item, state, age: make("span", "", line), detail: make("li", "", at("details")) };
}

function showAges() {
  const now = Date.now() / 1000 + skew;
  for (const { name, state, since } of dependencies) {
    if (since === null) write(cells.get(name).age, "");
    else write(cells.get(name).age, `, ${state === "ok" ? "" : "last well "}${ago(now - since)}`);
  }
}

// ---- the connection

let source = null;
let begun = 0;

function connect() {
  source?.close();
  begun = seconds();
  isTold = false;
  source = new EventSource(EVENTS);
  const mine = source;
  for (const [name, handle] of Object.entries(handlers)) {
    mine.addEventListener(name, (event) => {
      heard = seconds();
      isTold = true;
      trouble = refusal = "";
      handle(JSON.parse(event.data));
      showLink();
    });
  }
  mine.addEventListener("trouble", (event) => {
    trouble = JSON.parse(event.data).why;
    showLink();
  });
  mine.addEventListener("error", () => {
    isTold = false;
    showLink();
    if (mine === source && mine.readyState === EventSource.CLOSED) askWhy();
  });
}

/** Ask why we were turned away; an EventSource is not told. */
async function askWhy() {
  const control = new AbortController();
  try {
    const answer = await fetch(EVENTS, { signal: control.signal });
    if (!answer.ok) refusal = (await answer.text()).trim().slice(0, 300);
  } catch {
    refusal = "";
  }
  control.abort();
  showLink();
}

/** Try again where a browser does not: after a refusal, and when nothing is heard any more. */
function watch() {
  const quiet = seconds() - Math.max(begun, heard ?? 0);
  const isRefused = source.readyState === EventSource.CLOSED && seconds() - begun > AGAIN_SECONDS;
  if (isRefused || (quiet > SILENT_SECONDS && !trouble)) connect();
  showLink();
  showAges();
  showUnenforced();
}

function showLink() {
  const isLive = isTold && !trouble && seconds() - heard <= SILENT_SECONDS;
  let text = "Live";
  if (!isLive) {
    const age = heard === null ? "" : ` This picture is ${lasting(seconds() - heard)} old.`;
    text = `${trouble || refusal || (heard === null ? "Connecting." : "Connection lost.")}${age}`;
    if (!trouble && heard !== null) text += " Trying again.";
  }
  const link = at("link");
  const state = isLive ? "live" : heard === null && !refusal && !trouble ? "waiting" : "lost";
  if (link.dataset.state !== state) {
    if (state === "lost") announce("The connection to the guard is lost.");
    else if (link.dataset.state === "lost") announce("The page is live again.");
    link.dataset.state = state;
  }
  write(link, text);
}

// ---- what is read out: little, and never more than once in a while

let said = -ANNOUNCE_SECONDS;
let toSay = [];

function announce(text) {
  if (toSay.at(-1) !== text) toSay = [...toSay, text].slice(-3);
  speak();
}

function speak() {
  if (!toSay.length || seconds() - said < ANNOUNCE_SECONDS) return;
  said = seconds();
  const words = make("span"); // a new one, so that the same words are read out again
  write(words, toSay.join(" "));
  at("announcer").replaceChildren(words);
  toSay = [];
}

// ---- the filter

let typed = 0;

at("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  rooms.filter(words);
  decisions.filter(words);
  clearTimeout(typed);
  if (words.length) typed = setTimeout(() => announce(`${rooms.shownCount()} rooms fit.`), 800);
});

connect();
setInterval(watch, 1000);
setInterval(speak, 1000);
