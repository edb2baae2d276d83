// Making nodes. Text only enters a page through textContent or an attribute's value, never as markup.

export function make(tag, text = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

/** A sentence that quotes commands in backticks, as prose does; they read better as code. */
export const prose = (text) => String(text).split("`").map((piece, i) => (i % 2 ? make("code", piece) : piece));
