// The parts of the page «how it reads» as nodes: the words of a sentence, bars, and the map of attention.

import { make } from "../nodes.js";

export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
export const cosine = (value) => value.toFixed(2).replace("-", "−");

/** The pieces of a text as words: [{ word, surface, pieces, masked }], [CLS] and [SEP] with the word null. */
export function wordsOf({ text, pieces }) {
  const words = [];
  const characters = [...text]; // the API counts characters, JavaScript halves of some
  pieces.forEach((piece, position) => {
    const last = words.at(-1);
    if (piece.word !== null && last?.word === piece.word) last.pieces.push({ ...piece, position });
    else words.push({ word: piece.word, pieces: [{ ...piece, position }] });
  });
  for (const each of words) {
    const { start } = each.pieces[0];
    const covered = characters.slice(start, each.pieces.at(-1).end).join("").trim();
    each.surface = covered || each.pieces[0].piece;
    each.masked = each.pieces.some((piece) => piece.masked);
  }
  return words;
}

/** A word with its pieces, and below them their ids or what is hidden: a button that hides the word and shows it again,
 *  or plain where there is nothing to hide. */
export function wordNode({ word, surface, pieces, masked }, hidden, maskToken, toggle) {
  const fixed = word === null || (masked && !hidden); // the text itself says [MASK]
  const node = make(fixed ? "span" : "button", "", `word${masked ? " is-masked" : ""}${word === null ? " is-special" : ""}`);
  if (!fixed) {
    node.type = "button";
    node.dataset.word = word;
    node.ariaPressed = String(hidden);
    node.ariaLabel = `Hide “${surface}”`;
    node.onclick = () => toggle(word);
  }
  for (const piece of pieces) {
    const part = make("span", "", "piece");
    part.append(make("b", masked ? maskToken : piece.piece), make("small", hidden ? piece.piece : piece.id));
    node.append(part);
  }
  return node;
}

/** A bar from 0 to 1 with its name and its value. */
export function barNode(name, share, value, className = "") {
  const node = make("li", "", className);
  const bar = make("span", "", "bar");
  bar.append(make("i"));
  bar.firstChild.style.inlineSize = `${Math.max(0, Math.min(share, 1)) * 100}%`;
  node.append(make("span", name, "name"), " ", bar, make("span", value, "value"));
  return node;
}

/** Fills a table with one head's attention. Arrows move through it; `look` says what the cell means that is pointed at. */
export function heatMap(table, look, names, weights) {
  const strongest = Math.max(...weights.flat());
  const top = make("tr");
  top.append(make("td"), ...names.map((name) => column(name)));
  const rows = weights.map((row, from) => {
    const node = make("tr");
    const head = make("th", names[from]);
    head.scope = "row";
    node.append(head, ...row.map((weight, to) => cell(names[from], names[to], weight, strongest)));
    return node;
  });
  table.replaceChildren(top, ...rows);
  table.classList.toggle("is-large", names.length > 20);
  const at = (row, place) => rows[row]?.children[place + 1];
  const tell = (node) => node?.dataset.said && (look.textContent = node.dataset.said);
  table.onmousemove = (event) => tell(event.target); // not mouseover: scrolling under a resting mouse is no pointing
  rows.forEach((row) => row.querySelectorAll("td").forEach((node) => (node.onfocus = () => tell(node)))); // focus does not bubble
  table.onkeydown = (event) => {
    const place = event.target.cellIndex - 1;
    const row = rows.indexOf(event.target.parentNode);
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [0, 0];
    const next = (down || right) && at(row + down, place + right);
    if (!next || place + right < 0) return;
    event.preventDefault();
    event.target.tabIndex = -1; // one stop of Tab for the whole map
    next.tabIndex = 0;
    next.focus();
  };
  at(0, 0).tabIndex = 0;
  const widest = weights.flatMap((row, from) => row.map((weight, to) => [weight, from, to])).reduce((a, b) => (b[0] > a[0] ? b : a));
  look.textContent = `Strongest: ${at(widest[1], widest[2]).dataset.said}`;
}

function column(name) {
  const node = make("th");
  node.scope = "col";
  node.append(make("span", name));
  return node;
}

function cell(from, to, weight, strongest) {
  const node = make("td");
  node.dataset.said = `“${from}” takes ${percent(weight)} from “${to}”`;
  node.ariaLabel = node.dataset.said;
  node.tabIndex = -1;
  node.style.setProperty("--share", `${(100 * weight) / strongest}%`);
  return node;
}
