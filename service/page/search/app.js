// The search page. What it shows follows from its URL and from what the API answers.

import { ask } from "../api.js";
import { tellClick } from "./clicks.js";
import { tellModel } from "./footer.js";
import { listed } from "./browse.js";
import { breakable, fill, hitNode, measure, weightOf } from "./hits.js";
import { listenToKeys, stops } from "./keyboard.js";
import { Panel } from "../filters/panel.js";
import { count, documents, listFilters, show, showNothing, showProblem, showWelcome, tellSize } from "./states.js";
import { showOrder } from "./sort.js";
import { showExamples } from "./welcome.js";
import { noFilters, question, readUrl, restricted, urlOf } from "../view.js";

const PAGE = 10; // hits asked for at a time
const MOST = 100; // hits asked for at once when Back restores a longer list
const DEBOUNCE_MS = 120;
const REST_MS = 200; // until the highlights are asked for: the nearest sentences take longer than the search
const SCALES = {
  hybrid: "Fused score: higher is better, not a probability.",
  dense: "Cosine similarity of query and passage, at most 1.",
  lexical: "BM25 score of the words: higher is better.",
  similar: "Cosine similarity of the documents, at most 1.",
  browse: "",
};

const RELEVANCE = "Relevance: how probable it is that a result answers.";

const $ = (id) => document.getElementById(id);
const form = $("form").elements;
const box = form.q;

let view; // what the page shows or is about to show: see view.js, with the title of the document in `similar`
let hits = []; // the hits on the page
let best = {}; // the highest score of each leg among them
let pending = null; // the AbortController of the newest request
let timer = 0; // the debounce of typing
let rest = 0; // the wait for the highlights
let settled = false; // the history entry is one to come back to, so an edit starts a new one

const panel = new Panel({
  current: () => view.filters,
  refilter,
  point: (id) => stops().forEach((stop, i) => stop.classList.toggle("is-pointed", id !== null && hits[i]?.id === id)),
  open: (id) => stops()[hits.findIndex((hit) => hit.id === id)]?.focus(),
});

const milliseconds = (ms) => `${ms.toFixed(1)} ms`;
const idOf = (node) => hits[stops().indexOf(node.closest(".hit"))]?.id ?? null;
const kind = () => (view.similar ? "similar" : view.q ? view.mode : "browse");

/** The box, the mode, the variety or the order changed. Typing rewrites one history entry; Enter (settle) makes it one to keep:
 *  the next edit pushes a new one, so every confirmed search is one step of Back, and only one. */
function edited({ settle = false } = {}) {
  clearTimeout(timer);
  const next = { ...view, q: box.value.trim(), mode: form.mode.value, varied: form.varied.checked, sort: form.sort.value, similar: null };
  const changed = urlOf(next) !== urlOf(view);
  if (changed) {
    view = next;
    history[settled ? "pushState" : "replaceState"]({}, "", urlOf(view));
  }
  settled = settle || (settled && !changed);
  if (changed || settle) load();
}

/** The filters changed: each change is a step of Back. */
function refilter(next, sort = view.sort) {
  clearTimeout(timer);
  view = { ...view, q: view.similar ? view.q : box.value.trim(), filters: next, sort };
  history.pushState({ title: view.title }, "", urlOf(view));
  settled = true;
  load();
}

async function showSimilar(hit) {
  clearTimeout(timer);
  history.replaceState({ ...history.state, from: hit.id, shown: hits.length }, "");
  view = { ...view, similar: hit.id, title: hit.title ?? hit.id };
  history.pushState({ title: view.title }, "", urlOf(view));
  settled = true;
  if (!(await load())) return;
  scrollTo(0, 0);
  $("heading").focus({ preventScroll: true });
}

const opened = (hit) => tellClick(panel.columns.page.clicks, view.similar ? "" : view.q, hit);

/** Shows what the URL says: on load, and on back and forward, which also find the hit one came from. */
async function restore(from = null) {
  clearTimeout(timer);
  view = { ...readUrl(location.search), title: history.state?.title }; // the URL only has the id
  box.value = view.q;
  form.mode.value = view.mode;
  form.varied.checked = view.varied;
  showOrder($("order"), view, panel.columns);
  settled = Boolean(view.q || view.similar);
  if (!(await load({ size: Math.min(history.state?.shown || PAGE, MOST) }))) return;
  scrollTo(0, 0);
  stops()[hits.findIndex((hit) => hit.id === from)]?.focus();
}

/** Loads the view, or its next page; true once shown. A newer call ends an older one, which then shows nothing. */
async function load({ more = false, size = PAGE } = {}) {
  pending?.abort();
  clearTimeout(rest);
  const request = (pending = new AbortController());
  const { signal } = request;
  $("main").ariaBusy = "true";
  panel.show(view);
  try {
    const info = kind() !== "browse" && panel.known ? null : await panel.learn(signal);
    const asks = !info || info.index; // where there is no index there is nothing to list
    const [path, body] = asks ? question(view, panel.columns, size, more ? hits.length : 0) : [];
    const answer = asks ? await ask(path, { body, signal }) : info;
    if (request !== pending) return false;
    if (answer.index) $("index").textContent = `Index ${answer.index.id} · model ${answer.index.model}`;
    tellModel(answer.index, info?.model);
    head();
    if (answer.results) showHits(answer, more, size);
    else showWelcome(answer.index);
    if (kind() === "browse" && answer.index && !more) showExamples(signal, (q) => urlOf({ ...view, q }), follow);
    panel.follow(view, answer.index, hits, signal);
    if (answer.results?.length && kind() !== "browse") rest = setTimeout(() => mark(path, body, signal), REST_MS);
  } catch (problem) {
    if (request !== pending) return false;
    head();
    const free = (restricted(view.filters) || view.sort) && problem.status === 422 ? () => refilter(noFilters(), "") : null;
    if (problem.status !== 422) panel.hide();
    showProblem(problem, { retry: () => load({ more, size }), free, also: more ? ["about", "results"] : [] });
    if (!more) hits = [];
  }
  $("main").ariaBusy = "false";
  return true;
}

/** Highlights in the results that are shown what the same question finds, once the user has stopped typing. */
async function mark(path, body, signal) {
  const { results } = await ask(path, { body: { ...body, highlight: true, fields: [] }, signal }).catch(() => ({ results: [] }));
  if (signal.aborted) return;
  const items = [...$("results").children];
  for (const { id, text, highlights } of results) {
    const place = hits.findIndex((hit) => hit.id === id && hit.text === text); // the index may have changed meanwhile
    if (place < 0) continue;
    Object.assign(hits[place], { highlights });
    fill(items[place], hits[place]);
  }
  measure();
}

/** What the page says above its results, whatever these are. */
function head() {
  const heading = view.similar ? `Similar to ${view.title ?? view.similar}` : view.q;
  $("similar").hidden = !view.similar;
  $("heading").replaceChildren(...breakable(heading));
  $("back").href = urlOf({ ...view, similar: null });
  document.title = heading ? `${heading} – Dowse` : "Dowse";
  listFilters(view.filters, refilter, panel.columns.types);
  showOrder($("order"), view, panel.columns);
}

function showHits({ results, index, took_ms, timings = {}, matches, suggestion }, more, size) {
  const first = more ? hits.length : 0;
  const shown = new Set(hits.slice(0, first).map((hit) => hit.id)); // the index may change between two pages
  const fresh = results.filter((hit) => !shown.has(hit.id));
  hits = [...hits.slice(0, first), ...fresh];
  if (!more) {
    $("results").replaceChildren();
    for (const leg of ["dense", "lexical"]) best[leg] = Math.max(...hits.map((hit) => weightOf(hit.scores?.[leg])));
    if (kind() === "hybrid") best.dense = best.lexical = Math.max(best.dense, best.lexical); // what they add compares
  }
  const hidden = Object.values(panel.columns.place ?? {});
  const browsing = kind() === "browse";
  const node = browsing || view.sort ? listed(hitNode, { scored: !browsing }) : hitNode;
  $("results").append(...fresh.map((hit) => node(hit, { kind: kind(), best, hidden, columns: panel.columns, like: () => showSimilar(hit), opened: () => opened(hit) })));
  const filtered = restricted(view.filters) ? "filtered " : "";
  const all = matches ?? (filtered ? null : index.documents); // similar documents are not counted
  const found = all === null ? documents(hits.length, filtered) : `${count(hits.length)} of ${documents(all, filtered)}`;
  $("status").textContent = `${found} in ${milliseconds(took_ms)}`;
  $("stages").textContent = Object.entries(timings).map(([stage, ms]) => `${stage} ${milliseconds(ms)}`).join(" · ");
  $("timing").hidden = !$("stages").textContent;
  const known = typeof hits[0]?.relevance === "number";
  $("scale").textContent = known ? RELEVANCE : hits.length ? SCALES[kind()] : "";
  const link = $("suggestion").querySelector("a");
  link.textContent = suggestion ?? "";
  link.href = urlOf({ ...view, q: suggestion ?? "" });
  const extra = [...(restricted(view.filters) ? ["chosen"] : []), ...(suggestion ? ["suggestion"] : [])];
  if (!hits.length) return showNothing(view, matches, extra);
  const further = fresh.length > 0 && results.length >= size && hits.length < (matches ?? index.documents);
  const start = browsing && !restricted(view.filters) && !view.sort;
  if (start) tellSize(index);
  show(start ? "welcome" : "about", "results", ...extra, ...(further ? ["more"] : []));
  measure();
  if (!more) return;
  history.replaceState({ ...history.state, shown: hits.length }, "");
  stops()[first]?.focus(); // the button that was pressed may be gone
}

/** Has a link of this page followed without loading the page anew. */
function follow(link) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab, as with any link
    event.preventDefault();
    history.pushState({}, "", link.href);
    restore().then(() => box.focus());
  });
}

box.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(edited, box.value.trim() ? DEBOUNCE_MS : 0);
});
$("form").addEventListener("change", (event) => event.target !== box && edited());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  edited({ settle: true });
});
$("more").addEventListener("click", () => load({ more: true }));
for (const link of [$("back"), $("suggestion").querySelector("a")]) follow(link);
$("results").addEventListener("pointerover", (event) => panel.map.mark(idOf(event.target)));
$("results").addEventListener("focusin", (event) => panel.map.mark(idOf(event.target)));
$("results").addEventListener("pointerleave", () => panel.map.mark(null));
listenToKeys({
  similar: (place) => showSimilar(hits[place]),
  open: (place) => $("results").children[place]?.querySelector(".title a")?.click(),
  clear: () => ((box.value = ""), edited()),
});
addEventListener("popstate", () => restore(history.state?.from));
new ResizeObserver(measure).observe($("results"));
history.scrollRestoration = "manual"; // the browser would scroll before the list is there
restore();
