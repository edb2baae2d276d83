// The search page. What it shows follows from its URL (?q=, ?mode=, ?similar=) and what the API answers.
// Corpus text only enters the page through textContent or an attribute's value, never as markup.

import { ask, make, prose } from "./api.js";

const PAGE = 10; // hits asked for at a time
const MOST = 100; // hits asked for at once when Back restores a longer list
const DEBOUNCE_MS = 120;
const SCORES = { hybrid: "fused score", dense: "cosine similarity", lexical: "BM25 score", similar: "cosine similarity" };
const SCALES = {
  hybrid: "Fused score: higher is better, not a probability.",
  dense: "Cosine similarity of query and passage, at most 1.",
  lexical: "BM25 score of the words: higher is better.",
  similar: "Cosine similarity of the documents, at most 1.",
};
const LEGS = { dense: "Semantic", lexical: "Words" };

const $ = (id) => document.getElementById(id);
const box = $("q");
const modes = $("form").elements.mode;

let view; // { q, mode, similar, title }: what the page shows or is about to show
let hits = []; // the hits on the page
let pending = null; // the AbortController of the newest request
let timer = 0; // the debounce of typing
let told = ""; // the id of the model that the footer tells of
let settled = false; // the history entry is one to come back to, so an edit starts a new one

const count = (n) => n.toLocaleString("en");
const documents = (n) => `${count(n)} document${n === 1 ? "" : "s"}`;
const milliseconds = (ms) => `${ms.toFixed(1)} ms`;
const scoreText = (score) => score.toFixed(Math.abs(score) < 10 ? 2 : 1).replace(/^-(0\.00)$/, "$1").replace("-", "−");
const ndcg = (value) => value.toFixed(3).replace(/^0/, "");
const kind = () => (view.similar ? "similar" : view.mode);
const stops = () => [...document.querySelectorAll(".hit, #more:not([hidden])")]; // what the arrows go through

function readUrl() {
  const params = new URLSearchParams(location.search);
  const mode = params.get("mode");
  return {
    q: params.get("q") ?? "",
    mode: ["dense", "lexical"].includes(mode) ? mode : "hybrid",
    similar: params.get("similar"),
    title: history.state?.title, // the URL only has the id; the entry remembers the title
  };
}

function urlOf({ q, mode, similar }) {
  const params = new URLSearchParams();
  if (similar) params.set("similar", similar);
  if (q) params.set("q", q); // kept next to ?similar= so that the way back survives a reload
  if (mode !== "hybrid") params.set("mode", mode);
  return String(params) ? `?${params}` : "./";
}

/** The box or the mode changed. Typing rewrites one history entry; Enter (settle) makes it one to keep:
 *  the next edit pushes a new one, so every confirmed search is one step of Back, and only one. */
function edited({ settle = false } = {}) {
  clearTimeout(timer);
  const next = { q: box.value.trim(), mode: modes.value, similar: null };
  const changed = urlOf(next) !== urlOf(view);
  if (changed) {
    view = next;
    history[settled ? "pushState" : "replaceState"]({}, "", urlOf(view));
  }
  settled = settle || (settled && !changed);
  if (changed || settle) load();
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

/** Shows what the URL says: on load, and on back and forward, which also find the hit one came from. */
async function restore(from = null) {
  clearTimeout(timer);
  view = readUrl();
  box.value = view.q;
  modes.value = view.mode;
  settled = Boolean(view.q || view.similar);
  if (!(await load({ size: Math.min(history.state?.shown || PAGE, MOST) }))) return;
  scrollTo(0, 0);
  stops()[hits.findIndex((hit) => hit.id === from)]?.focus();
}

function pathOf({ q, mode, similar }, size, offset) {
  if (similar) return `documents/${encodeURIComponent(similar)}/similar?top_k=${size}`;
  return q ? `search?${new URLSearchParams({ q, top_k: size, offset, mode, explain: true })}` : "info";
}

/** Loads the view, or its next page; true once shown. A newer call ends an older one, which then shows nothing. */
async function load({ more = false, size = PAGE } = {}) {
  pending?.abort();
  const request = (pending = new AbortController());
  $("main").ariaBusy = "true";
  try {
    const answer = await ask(pathOf(view, size, more ? hits.length : 0), request.signal);
    if (request !== pending) return false;
    const index = answer.index;
    if (index) $("index").textContent = `Index ${index.id} · model ${index.model}`;
    tellModel(index, answer.model);
    if (answer.results) showHits(answer, more, size);
    else showWelcome(index);
  } catch (problem) {
    if (request !== pending) return false;
    showProblem(problem, { more, size });
  }
  $("main").ariaBusy = "false";
  return true;
}

/** Says in the footer which model answers, and by how much it beat its base. A search only names the model, so what
 *  there is to say of it is asked for once. */
async function tellModel(index, model) {
  if (!index?.model || index.model === told) return;
  told = index.model;
  model ??= (await ask("info").catch(() => ({}))).model;
  if (model?.id !== told) return void (told = ""); // the index has changed meanwhile; the next answer tries again
  const name = model.name.split("/").at(-1);
  const gains = Object.entries({ dense: model.dense, hybrid: model.hybrid }).filter(([, gain]) => gain);
  const figures = gains.map(([leg, gain], i) => `${leg}${i ? "" : " nDCG@10"} ${ndcg(gain.base)} → ${ndcg(gain.tuned)}`).join(", ");
  const judged = model.judged_by === "labels" ? "held-out queries" : "held-out synthetic queries";
  const tuned = ["tuned on this corpus", figures && `: ${figures} on ${judged}`, model.verdict !== "WIN" && `, verdict ${model.verdict}`];
  $("model").textContent = `${name}, ${model.tuned ? tuned.filter(Boolean).join("") : "not tuned on this corpus"}`;
  if (!model.report) return;
  const link = make("a", "report");
  link.href = model.report;
  $("model").append(" · ", link);
}

/** Shows these parts of the page and no others, under the heading the view has. */
function show(...parts) {
  for (const part of ["about", "welcome", "nothing", "results", "problem", "more"]) $(part).hidden = !parts.includes(part);
  if (!parts.includes("results")) {
    hits = [];
    $("results").replaceChildren();
  }
  const heading = view.similar ? `Similar to ${view.title ?? view.similar}` : view.q;
  $("similar").hidden = !view.similar;
  $("heading").replaceChildren(...breakable(heading));
  $("back").href = urlOf({ ...view, similar: null });
  document.title = heading ? `${heading} – Dowse` : "Dowse";
}

function showWelcome(index) {
  $("welcome-title").textContent = index ? `Search ${documents(index.documents)}` : "There is no index yet";
  show("welcome");
}

function showProblem(problem, again) {
  $("problem-title").textContent = problem.title ?? "The page failed";
  $("problem-detail").replaceChildren(...prose(problem.detail ?? problem.message ?? ""));
  $("problem-request").textContent = problem.request_id ? `Request ${problem.request_id}` : "";
  $("retry").onclick = () => load(again);
  show("problem", ...(again.more ? ["about", "results"] : []));
}

function showHits({ results, index, took_ms, timings = {} }, more, size) {
  const first = more ? hits.length : 0;
  const known = new Set(hits.slice(0, first).map((hit) => hit.id)); // the index may change between two pages
  const fresh = results.filter((hit) => !known.has(hit.id));
  hits = [...hits.slice(0, first), ...fresh];
  if (!more) $("results").replaceChildren();
  $("results").append(...fresh.map(hitNode));
  const further = !view.similar && fresh.length > 0 && results.length >= size && hits.length < index.documents;
  $("status").textContent = `${count(hits.length)} of ${documents(index.documents)} in ${milliseconds(took_ms)}`;
  $("stages").textContent = Object.entries(timings).map(([stage, ms]) => `${stage} ${milliseconds(ms)}`).join(" · ");
  $("timing").hidden = !$("stages").textContent;
  $("scale").textContent = hits.length ? SCALES[kind()] : "";
  if (!hits.length) return showNothing();
  show("about", "results", ...(further ? ["more"] : []));
  measure();
  if (!more) return;
  history.replaceState({ ...history.state, shown: hits.length }, "");
  stops()[first]?.focus(); // the button that was pressed may be gone
}

function showNothing() {
  $("nothing-title").textContent = view.similar ? "No other document is similar" : `Nothing found for “${view.q}”`;
  $("nothing-hint").textContent = kind() === "lexical"
    ? "No document has these words. Semantic also finds what is said in other words."
    : "Try other words, or fewer of them.";
  show("about", "nothing");
}

/** Text that may break after the marks inside names such as os.path or read_text, before it breaks anywhere. */
const breakable = (text) => text.split(/(?<=[._/])(?=\w)/).flatMap((piece) => [piece, make("wbr", "")]);

function hitNode(hit) {
  const item = $("hit").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(`.${name}`);
  const name = hit.title ?? hit.id;
  part("hit").classList.toggle("is-best", hit.rank === 1);
  part("hit").ariaLabel = `${hit.rank}. ${name}`;
  part("rank").textContent = hit.rank;
  part("best").hidden = hit.rank !== 1;
  part("best").textContent = view.similar ? "Closest match" : "Best match";
  part("title").append(...breakable(name));
  part("id").hidden = name === hit.id;
  part("id").append(...breakable(hit.id));
  part("score").firstElementChild.textContent = scoreText(hit.score);
  part("score").lastElementChild.textContent = SCORES[kind()];
  part("text").textContent = hit.text;
  part("meta").append(...Object.entries(hit.metadata ?? {}).flatMap(chip));
  part("legs").append(...Object.keys(LEGS).flatMap((leg) => legNode(leg, hit.scores?.[leg])));
  part("like").ariaLabel = `Similar to ${name}`;
  part("like").onclick = () => showSimilar(hit);
  part("unfold").onclick = () => unfold(part("hit"), part("unfold"));
  return item;
}

function chip([key, value]) {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return [];
  const plain = (one) => (typeof one === "object" ? JSON.stringify(one) : String(one));
  const text = Array.isArray(value) ? value.map(plain).join(", ") : plain(value);
  const node = document.createElement("div");
  node.append(make("dt", key), make("dd", text));
  if (text.length > 20) node.title = text; // the style sheet may cut it
  return [node];
}

function legNode(leg, found) {
  if (found) return [make("span", `${LEGS[leg]} #${found.rank} · ${scoreText(found.score)}`)];
  // Outside hybrid the other leg was not asked, which says nothing about the document.
  return kind() === "hybrid" ? [make("span", `${LEGS[leg]} –`)] : [];
}

function unfold(hit, button) {
  const open = hit.classList.toggle("is-open");
  button.ariaExpanded = String(open);
  button.textContent = open ? "Show less" : "Show more";
}

/** Offers "Show more" only where the clamp hides something at this width. */
function measure() {
  const closed = [...document.querySelectorAll(".hit:not(.is-open)")];
  const hides = (node) => node.scrollHeight > node.clientHeight + 2;
  const cut = closed.map((hit) => [...hit.querySelectorAll(".text, .meta")].some(hides)); // all reads before the writes
  closed.forEach((hit, i) => (hit.querySelector(".unfold").hidden = !cut[i]));
}

function move(step) {
  const all = stops();
  const at = all.indexOf(document.activeElement.closest(".hit, #more"));
  if (at + step < 0) box.focus();
  else all[Math.min(at + step, all.length - 1)]?.focus();
}

function toBox() {
  box.focus();
  box.select();
}

function clear() {
  box.value = "";
  edited();
}

function onKey(event) {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inBox = event.target === box;
  const onRadio = event.target.type === "radio"; // whose arrows choose the mode
  const hit = event.target.closest?.(".hit");
  const similar = hit && (() => showSimilar(hits[stops().indexOf(hit)]));
  const action = {
    "/": !inBox && toBox,
    ArrowDown: !onRadio && (() => move(1)),
    ArrowUp: !onRadio && !inBox && (() => move(-1)),
    s: similar,
    Enter: event.target === hit && similar,
    Escape: inBox ? clear : toBox,
  }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
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
$("back").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab, as with any link
  event.preventDefault();
  history.pushState({}, "", $("back").href);
  restore().then(() => box.focus());
});
addEventListener("keydown", onKey);
addEventListener("popstate", () => restore(history.state?.from));
new ResizeObserver(measure).observe($("results"));
history.scrollRestoration = "manual"; // the browser would scroll before the list is there
restore();
