// Questions in the search. The theme looks for each word also as the beginning of others, so
// "how do I …" would find Docker and installing: what it reads of the field leaves such words out.
{
  const ASKING = new Set(
    "a an and are be can could did do does for get has have how i if in is it may me mean means my of on or"
      .concat(" our should that the there they this to was we were what when where which who why with you your")
      .split(" "),
  );
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  const asked = (text) => {
    const all = text.split(/[\s?]+/).filter(Boolean);
    const words = all.filter((word) => !ASKING.has(word.toLowerCase()));
    return words.length && words.length < all.length ? words.join(" ") : text;
  };
  const field = document.querySelector(".md-search__input");
  if (field) {
    Object.defineProperty(field, "value", {
      get: () => asked(get.call(field)),
      set: (text) => set.call(field, text),
    });
  }
}
