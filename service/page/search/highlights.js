// Where a result answers, shown in its text: the query's words as marks, the nearest sentence underlined. The API counts
// Unicode code points, JavaScript halves of some, so texts are taken apart before they are cut.

import { make } from "../nodes.js";

const LEAD = 90; // characters kept before the place that an excerpt is about
const LONGEST_UNIT = 40; // characters of an HTML entity or of a letter, at most
const ENTITY = /&(?:#\d+|#x[\da-f]+|[a-z][a-z\d]*);/gi;
const FAR = 220; // characters before it from which on an excerpt leaves the beginning out

/** A text as nodes, with its `words` marked and its `sentence` set off; `start` on, where an excerpt begins. */
export function highlighted(text, words = [], sentence = null, start = 0) {
  const characters = [...text];
  const inside = ([from, to], place) => from <= place && place < to;
  const ends = new Set([start, characters.length, ...words.flat(), ...(sentence ?? [])]);
  const cuts = [...ends].filter((cut) => cut >= start && cut <= characters.length).sort((a, b) => a - b);
  const nodes = [];
  let near = null;
  cuts.slice(0, -1).forEach((from, i) => {
    const piece = characters.slice(from, cuts[i + 1]).join("");
    const node = words.some((word) => inside(word, from)) ? make("mark", piece) : document.createTextNode(piece);
    if (!sentence || !inside(sentence, from)) return void nodes.push(node);
    if (!near) nodes.push((near = make("span", "", "near")));
    near.append(node);
  });
  return nodes;
}

/** Where an excerpt of a text may begin so that what is highlighted is among its first lines; 0 for at the beginning. */
export function excerptStart(text, words = [], sentence = null) {
  const marked = sentence?.[0] ?? words[0]?.[0] ?? 0;
  if (marked < FAR) return 0;
  const characters = [...text];
  const about = beginning(characters, marked);
  const space = characters.findIndex((character, i) => i >= about - LEAD && /\s/.test(character));
  return space < 0 || space >= about ? about : space + 1;
}

/** The place at or before `place` that is within no HTML entity such as &amp; and no letter that is made of several
 *  characters, such as one with accents or an emoji with a skin tone. */
function beginning(characters, place) {
  const from = Math.max(0, place - LONGEST_UNIT);
  const around = characters.slice(from, place + LONGEST_UNIT).join("");
  const units = [...around.matchAll(ENTITY)].map((match) => [match.index, match[0]]);
  for (const { index, segment } of new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(around)) units.push([index, segment]);
  const at = characters.slice(from, place).join("").length;
  const inside = units.filter(([start, unit]) => start < at && at < start + unit.length).map(([start]) => start);
  return inside.length ? from + [...around.slice(0, Math.min(...inside))].length : place;
}
