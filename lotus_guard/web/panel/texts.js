// What the page says, in the reader's language: one file of texts for each, with the same keys.

const LANGUAGES = ["en", "de"];

/** Choose a language that we have from those that are wanted, the first one first. */
export function chosen(wanted) {
  const known = wanted.map((each) => String(each).toLowerCase().split(/[-_]/)[0]);
  return known.find((each) => LANGUAGES.includes(each)) ?? LANGUAGES[0];
}

/** Load a language's texts; gives what looks one up by its key and fills in its fields. */
export async function load(language) {
  const answer = await fetch(new URL(`texts/${language}.json`, import.meta.url));
  const texts = await answer.json();
  const plural = new Intl.PluralRules(language);
  const t = (key, fields = {}) => {
    const form = "n" in fields && fields.n !== null ? `${key}.${plural.select(fields.n)}` : key;
    const text = texts[form] ?? texts[`${key}.other`] ?? texts[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (all, name) => (name in fields ? String(fields[name]) : all));
  };
  return Object.assign(t, { language, has: (key) => key in texts });
}

/** Write the texts that elements name themselves. */
export function fill(t) {
  document.documentElement.lang = t.language;
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = t(node.dataset.text);
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t(node.dataset.label));
  }
}
