// The page «how it reads». What it shows follows from its URL's hash (#text=, hide=, layer=, head=, first=, second=) and
// what the API answers, so that a link shows somebody else the same.

import { ask } from "../api.js";
import { make, prose } from "../nodes.js";
import { showTrouble } from "../trouble.js";
import { verdictText } from "../verdict.js";
import { barNode, cosine, heatMap, percent, wordNode, wordsOf } from "./reading.js";

const DEBOUNCE_MS = 150;
const DEFAULTS = {
  text: "The capital of France is Paris.",
  hide: "",
  layer: "1",
  head: "1",
  first: "He sat on the bank of the river.",
  second: "She put the money in the bank.",
};

const ORIGIN = ". The directory is what `python -m trainer pretrain` makes of a corpus, or any masked-language model in the Hub's format.";

const $ = (id) => document.getElementById(id);
let models = {}; // what is published
let view = { ...DEFAULTS };

const hidden = () => view.hide.split(",").filter(Boolean).map(Number).filter(Number.isInteger);

function readHash() {
  const params = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, usual]) => [name, params.get(name) ?? usual]));
}

function writeHash() {
  const params = new URLSearchParams(Object.entries(view).filter(([name, value]) => value !== DEFAULTS[name]));
  history.replaceState(null, "", String(params) ? `#${params}` : location.pathname);
}

/** Asks about one part of the page: a newer question ends an older one, which then shows nothing. What `body` gives is
 *  asked about, if anything; `answers` are the nodes that show what was answered. */
function conversation(section, path, body, show, answers) {
  let pending = null;
  let timer = 0;
  const trouble = section.querySelector(".trouble");

  async function load() {
    clearTimeout(timer);
    pending?.abort();
    const request = (pending = new AbortController());
    const question = body();
    trouble.hidden = true;
    answers.forEach((node) => (node.hidden = !question));
    if (!question) return;
    section.ariaBusy = "true";
    try {
      const answer = await ask(path, { body: question, signal: request.signal });
      if (request !== pending) return;
      show(answer);
    } catch (problem) {
      if (request !== pending) return;
      showTrouble(trouble, problem, load);
      answers.forEach((node) => (node.hidden = true));
    }
    section.ariaBusy = "false";
  }

  return { load, soon: () => (clearTimeout(timer), (timer = setTimeout(load, DEBOUNCE_MS))) };
}

const reading = conversation($("reading"), "model/read", readingBody, showReading, [$("reading-answer"), $("attention")]);
const comparison = conversation($("compare"), "model/compare", comparisonBody, showComparison, [$("compare-answer")]);

function readingBody() {
  const choice = { hide: hidden(), layer: Number(view.layer), head: Number(view.head) };
  return view.text.trim() && { text: view.text, ...choice };
}

function comparisonBody() {
  const [first, second] = [view.first.trim(), view.second.trim()];
  return first && second && { first, second };
}

function showReading(answer) {
  if (answer.masked_model !== models.masked.id) return void start(); // another one was published meanwhile
  const words = wordsOf(answer);
  const active = document.activeElement?.dataset?.word;
  const hides = new Set(hidden());
  $("words").replaceChildren(...words.map((word) => wordNode(word, hides.has(word.word), models.masked.mask_token, toggle)));
  if (active !== undefined) $("words").querySelector(`[data-word="${active}"]`)?.focus();
  $("guesses").replaceChildren(...answer.masks.map((mask) => guessNode(mask, words)));
  const best = answer.masks.map((mask) => `${mask.candidates[0].word} ${percent(mask.candidates[0].probability)}`);
  $("told").textContent = best.length ? `Most probable: ${best.join(", ")}` : "";
  const names = answer.pieces.map((piece) => (piece.masked ? models.masked.mask_token : piece.piece));
  heatMap($("heat"), $("look"), names, answer.attention.weights);
}

function guessNode({ position, candidates, hidden: own, entropy }, words) {
  const word = words.find(({ pieces }) => pieces.some((piece) => piece.position === position));
  const place = word.pieces.findIndex((piece) => piece.position === position) + 1;
  const part = word.pieces.length > 1 ? `, piece ${place} of ${word.pieces.length}` : "";
  const node = make("article", "", "guess");
  const bars = make("ol", "", "bars");
  bars.append(...candidates.map((each) => barNode(each.word, each.probability, percent(each.probability), own?.rank === each.rank ? "is-own" : "")));
  if (own && own.rank > candidates.length) bars.append(barNode(own.word, own.probability, `${percent(own.probability)}, rank ${own.rank}`, "is-own"));
  const choice = Math.exp(entropy);
  const sure = `Entropy ${entropy.toFixed(2)} nats: a choice among ${choice.toFixed(choice < 10 ? 1 : 0)} equally likely pieces, of ${models.masked.vocabulary.toLocaleString("en")}.`;
  node.append(make("h3", own ? `In place of “${word.surface}”${part}` : `In place of ${models.masked.mask_token}`), bars, make("p", sure, "hint"));
  return node;
}

function showComparison({ words, sentences }) {
  $("words-title").hidden = $("shared").hidden = words === null;
  $("sentences-title").hidden = $("sentences").hidden = sentences === null;
  $("shared").replaceChildren(...(words ?? []).map((each) => barNode(each.word, each.cosine, cosine(each.cosine))));
  $("shared-none").hidden = words === null || words.length > 0;
  $("sentences").replaceChildren(...(sentences === null ? [] : [barNode("sentences", sentences, cosine(sentences))]));
}

function toggle(word) {
  const hides = new Set(hidden());
  if (!hides.delete(word)) hides.add(word);
  change({ hide: [...hides].sort((a, b) => a - b).join(",") });
  reading.load();
}

function change(part) {
  view = { ...view, ...part };
  writeHash();
}

/** Shows what the published models are, and what the page cannot show without those that are missing. */
function showModels({ masked, encoder, missing }) {
  $("missing").hidden = missing.length === 0;
  const parts = missing.map((sentence) => {
    const item = make("li");
    item.append(...prose(sentence));
    return item;
  });
  if (!masked) parts[0].append(...prose(ORIGIN));
  $("missing-list").replaceChildren(...parts);
  for (const part of ["reading", "attention"]) $(part).hidden = !masked;
  $("compare").hidden = !masked && !encoder;
  $("masked").textContent = masked ? `Masked-language model ${masked.name} · ${masked.layers} layers of ${masked.heads} heads · ${masked.vocabulary.toLocaleString("en")} word pieces · ${masked.id}` : "";
  $("encoder").textContent = encoder ? `Sentence encoder ${encoder.name.split("/").at(-1)} · ${encoder.id}` : "";
  if (encoder) ask("info").then(({ model }) => ($("verdict").textContent = model ? `${verdictText(model)}.` : ""), () => {});
  if (!masked) return;
  choices($("layer"), masked.layers);
  choices($("head"), masked.heads);
}

function choices(select, count) {
  select.replaceChildren(...Array.from({ length: count }, (_, i) => new Option(i + 1, i + 1)));
  const chosen = Number(view[select.id]);
  if (!(chosen >= 1 && chosen <= count)) change({ [select.id]: "1" }); // a link made with a larger model
  select.value = view[select.id];
}

/** Asks what is published, and then for what the page shows with it. */
async function start() {
  $("main").ariaBusy = "true";
  try {
    models = await ask("model/info");
    $("problem").hidden = true;
    showModels(models);
    if (models.masked) reading.load();
    if (models.masked || models.encoder) comparison.load();
  } catch (problem) {
    showTrouble($("problem"), problem, start);
  }
  $("main").ariaBusy = "false";
}

/** Takes the view from the URL: on load, and when somebody edits the hash or goes back. */
function restore() {
  view = readHash();
  for (const field of ["text", "first", "second"]) $(field).value = view[field];
  start();
}

$("text").addEventListener("input", () => {
  change({ text: $("text").value, hide: "" }); // the numbers of the words have changed
  reading.soon();
});
for (const field of ["first", "second"]) {
  $(field).addEventListener("input", () => {
    change({ [field]: $(field).value });
    comparison.soon();
  });
}
for (const field of ["layer", "head"]) {
  $(field).addEventListener("change", () => {
    change({ [field]: $(field).value });
    reading.load();
  });
}
$("again").addEventListener("click", start);
addEventListener("hashchange", restore);
restore();
