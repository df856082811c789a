// Text on the page. Rooms and people are called whatever strangers like: everything is written as
// text nodes, and what cannot be seen, or turns its surroundings around, is spelled out.

// Control, format and unassigned characters, lone surrogates, separators, blanks other than the
// space, and letters without a shape. The same that `lotus_guard.core.text` escapes, and the last.
const UNSEEN =
  /(?:[\p{C}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]|[^\P{Zs} ])+/gu;

const MOST_COUNTED = 999_999;

const written = new WeakMap();

/** Write a text into an element, if it is another than before. */
export function write(node, text) {
  if (written.get(node) === text) return;
  written.set(node, text);
  node.textContent = "";
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > end) node.append(text.slice(end, match.index));
    make("span", "escape", node).textContent = spelled(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) node.append(text.slice(end));
}

function spelled(text) {
  return Array.from(text, (each) => {
    const code = each.codePointAt(0);
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    if (code < 0x10000) return `\\u${code.toString(16).padStart(4, "0")}`;
    return `\\U${code.toString(16).padStart(8, "0")}`;
  }).join("");
}

/** Whether anything of a text can be seen without being spelled out. */
export function isBlank(text) {
  return text.replace(UNSEEN, "").trim() === "";
}

/** Make an element at the end of another one. */
export function make(tag, className, parent) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (parent) parent.append(node);
  return node;
}

/** Make a term and its description in a list of them; gives the place for the description. */
export function term(list, name) {
  write(make("dt", "", list), name);
  return make("bdi", "", make("dd", "", list));
}

/** Show or hide an element; touches nothing where nothing changes. */
export function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

/** Write a number of things; one that nobody can mean (a moderator sets limits) stays short. */
export function count(number, one, many) {
  const shown = Math.min(number, MOST_COUNTED).toLocaleString("en");
  return `${shown}${number > MOST_COUNTED ? "+" : ""} ${number === 1 ? one : many}`;
}

/** How long ago something was, no finer than a reader cares. */
export function ago(seconds) {
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${count(Math.floor(seconds / 86400), "day", "days")} ago`;
}

/** For how long something has been. */
export function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 120 ? `${whole} s` : `${Math.floor(whole / 60)} min`;
}

/** When something was, in the reader's own time zone. */
export function moment(epoch) {
  const date = new Date(epoch * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString("en-GB");
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return isToday ? time : `${day} ${time}`;
}

/** When something was, to the minute. */
export function at(epoch) {
  return moment(epoch).replace(/:\d\d$/, "");
}

const REASONS =
  "refused|dns|timeout|reset|server_error|unauthorized|not_found|may_not_look|garbage|oversized|secret|unknown_room|busy|overload|bug";
const REASON = new RegExp(`^(?:${REASONS}): | \\((?:${REASONS})\\)(?=;|$)`, "g");

/** Leave out the word by which programs know a reason, where words for people stand beside it. */
export function plainly(why) {
  return why.replace(REASON, "");
}
