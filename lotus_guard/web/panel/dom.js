// Text on the page. People and rooms are called whatever strangers like: everything is written as
// text nodes, and what cannot be seen, or turns its surroundings around, is spelled out.

const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]|[^\P{Zs} ]/gu;
const MOST = 300;

/** The element with an id. */
export const at = (id) => document.getElementById(id);

/** Write a text into an element, in place of all that is there. */
export function write(node, text) {
  const shown = text.length > MOST ? `${text.slice(0, MOST)}…` : text;
  node.textContent = "";
  let end = 0;
  for (const match of shown.matchAll(UNSEEN)) {
    node.append(shown.slice(end, match.index));
    make("span", node, "escape").textContent = `U+${match[0].codePointAt(0).toString(16)}`;
    end = match.index + match[0].length;
  }
  node.append(shown.slice(end));
}

/** Make an element at the end of another one. */
export function make(tag, parent, className = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  parent.append(node);
  return node;
}

/** Write a sentence in which somebody or something is named: `{name}` is isolated from the rest. */
export function writeNaming(node, sentence, name) {
  const [before, after = ""] = sentence.split("{name}");
  node.textContent = "";
  node.append(before);
  if (sentence.includes("{name}")) write(make("bdi", node), name);
  node.append(after);
}

/** Write a text where it differs, and show the element while there is one. */
export function say(node, text) {
  if (node.textContent !== text) write(node, text);
  node.hidden = text === "";
}
