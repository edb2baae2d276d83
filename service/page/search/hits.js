// A result as a node: its text with what was found in it, what each leg says of it, and its metadata.

import { make } from "../nodes.js";
import { excerptStart, highlighted } from "./highlights.js";
import { anchor, imageOf, linkOf, metadataNodes } from "./values.js";

export const SCORES = { hybrid: "fused score", dense: "cosine similarity", lexical: "BM25 score", similar: "cosine similarity" };
const LEGS = { dense: "Semantic", lexical: "Words" };
const LOW = 0.1; // relevance below which not even the first result is likely to answer

export const scoreText = (score) => score.toFixed(Math.abs(score) < 10 ? 2 : 1).replace(/^-(0\.00)$/, "$1").replace("-", "−");

/** A relevance in percent. Where an index has none, the score is shown instead. */
export const percent = (relevance) => (relevance > 0 && relevance < 0.005 ? "< 1 %" : `${Math.round(100 * relevance)} %`);

/** Text that may break after the marks inside names such as os.path or read_text, before it breaks anywhere. */
export const breakable = (text) => text.split(/(?<=[._/])(?=\w)/).flatMap((piece) => [piece, make("wbr", "")]);

/** What a leg counts for in a result: its part of a fused score, or else its score. */
export const weightOf = (leg) => leg?.part ?? leg?.score ?? 0;

/** `kind` is the mode, or `similar`; `best` what fills the bars of each leg; `hidden` the columns that
 *  are shown elsewhere; `columns` the index's; `like` is called for similar documents, `opened` once the result is opened. */
export function hitNode(hit, { kind, best, hidden, columns, like, opened }) {
  const item = document.getElementById("hit").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.${name}`);
  const name = hit.title ?? hit.id;
  const metadata = hit.metadata ?? {};
  const { url_column: urlColumn, image_column: imageColumn, image_sources: sources } = columns.page;
  const [link, image] = [linkOf(metadata, urlColumn), imageOf(metadata, imageColumn, sources)];
  if (link) addLink(part("title"), link.address, opened);
  if (image) addPicture(part("hit"), image.address, name);
  part("hit").classList.toggle("is-best", hit.rank === 1);
  part("hit").ariaLabel = `${hit.rank}. ${name}`;
  part("rank").textContent = hit.rank;
  part("best").hidden = hit.rank !== 1;
  const known = typeof hit.relevance === "number";
  part("best").textContent = kind === "similar" ? "Closest match" : known && hit.relevance < LOW ? "Nothing close" : "Best match";
  part("id").hidden = name === hit.id;
  part("id").append(...breakable(hit.id));
  part("score").firstElementChild.textContent = known ? percent(hit.relevance) : scoreText(hit.score);
  part("score").lastElementChild.textContent = known ? "relevance" : SCORES[kind];
  if (known) part("score").title = `${SCORES[kind]} ${scoreText(hit.score)}`;
  part("meta").append(...metadataNodes(metadata, columns, [...hidden, link?.field, image?.field]));
  part("legs").append(...Object.keys(LEGS).flatMap((leg) => legNode(leg, hit.scores?.[leg], best[leg], kind)));
  part("like").ariaLabel = `Similar to ${name}`;
  part("like").onclick = like;
  part("unfold").onclick = () => {
    const open = part("hit").classList.toggle("is-open");
    part("unfold").ariaExpanded = String(open);
    part("unfold").textContent = open ? "Show less" : "Show more";
    if (open) opened();
    fill(item, hit);
  };
  fill(item, hit);
  return item;
}

/** Shows a result's title and text with what is highlighted in them, as far as that is known: closed, the part of the
 *  text that it is about. */
export function fill(item, { id, title, text, highlights = {} }) {
  const name = title ?? id;
  const node = item.querySelector(".hit");
  const start = excerptStart(text, highlights.text, highlights.sentence);
  const from = node.classList.contains("is-open") ? 0 : start;
  node.dataset.cut = start ? "yes" : "";
  (node.querySelector(".title a") ?? node.querySelector(".title")).replaceChildren(...(highlights.title?.length ? highlighted(name, highlights.title) : breakable(name)));
  node.querySelector(".text").replaceChildren(...(from ? ["… "] : []), ...highlighted(text, highlights.text, highlights.sentence, from));
}

/** Offers "Show more" only where the closed result hides something at this width. */
export function measure() {
  const closed = [...document.querySelectorAll(".hit:not(.is-open)")];
  const hides = (node) => node.scrollHeight > node.clientHeight + 2;
  const cut = closed.map((hit) => hit.dataset.cut || hit.querySelector(".is-long") || [...hit.querySelectorAll(".text, .meta")].some(hides));
  closed.forEach((hit, i) => (hit.querySelector(".unfold").hidden = !cut[i])); // all reads before the writes
}

function addLink(title, address, opened) {
  const link = anchor(address);
  link.onclick = opened;
  link.onauxclick = ({ button }) => button === 1 && opened(); // the middle one opens a tab
  title.append(link);
}

/** Puts a result's picture beside it. One that cannot be loaded goes away. */
function addPicture(hit, address, name) {
  const picture = make("img", "", "picture");
  Object.assign(picture, { alt: `Picture of ${name}`, width: 96, height: 96, loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
  picture.onerror = () => {
    picture.remove();
    hit.classList.remove("has-picture");
  };
  picture.src = address.href;
  hit.prepend(picture);
  hit.classList.add("has-picture");
}

function legNode(leg, found, best, kind) {
  // Outside hybrid the other leg was not asked, which says nothing about the document.
  if (!found && kind !== "hybrid") return [];
  const node = make("span", "", `leg is-${leg}`);
  const bar = make("span", "", "bar");
  bar.append(make("i"));
  bar.firstChild.style.inlineSize = best > 0 ? `${100 * Math.max(0, Math.min(1, weightOf(found) / best))}%` : "0";
  node.append(make("span", LEGS[leg], "name"), " ", bar, make("span", found ? `${scoreText(found.score)} · #${found.rank}` : "–", "value"));
  const said = kind === "hybrid" ? "the bar is what this adds to the score, on the same scale for meaning and words" : "the bar compares it with the best shown";
  node.title = found ? `${SCORES[leg]} ${scoreText(found.score)}, rank ${found.rank}; ${said}` : "has none of the words";
  return [node];
}
