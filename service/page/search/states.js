// Which parts of the search page are shown, and what the empty ones and the broken ones say.

import { choiceText, labelOf } from "../filters/columns.js";
import { changeKey, changeLabel, otherKeyHelps } from "../key.js";
import { make, prose } from "../nodes.js";
import { noFilters } from "../view.js";

const $ = (id) => document.getElementById(id);
const PARTS = ["about", "chosen", "welcome", "nothing", "suggestion", "results", "problem", "more"];

export const count = (n) => n.toLocaleString("en");
export const documents = (n, kind = "") => `${count(n)} ${kind}document${n === 1 ? "" : "s"}`;

let countdown = 0;

/** Shows these parts of the page and no others. */
export function show(...parts) {
  clearInterval(countdown);
  for (const part of PARTS) $(part).hidden = !parts.includes(part);
  if (!parts.includes("results")) $("results").replaceChildren();
}

/** Says on the first screen how much there is to search. */
export function tellSize(index) {
  $("welcome-title").textContent = index ? `Search ${documents(index.documents)}` : "There is no index yet";
}

export function showWelcome(index) {
  tellSize(index);
  show("welcome");
}

/** Shows a problem. Where the service says that asking later helps, it is asked again by itself. */
export function showProblem(problem, { retry, free, also }) {
  const retryable = problem.status !== 422;
  show("problem", ...also);
  $("problem-title").textContent = problem.title ?? "The page failed";
  $("problem-detail").replaceChildren(...prose(problem.detail ?? problem.message ?? ""));
  $("problem-request").textContent = problem.request_id ? `Request ${problem.request_id}` : "";
  $("retry").hidden = !retryable;
  $("retry").onclick = retry;
  $("retry").textContent = "Try again";
  $("rekey").hidden = !otherKeyHelps(problem);
  $("rekey").textContent = changeLabel();
  $("rekey").onclick = async () => (await changeKey()) && retry();
  $("free").hidden = !free;
  $("free").onclick = free;
  if (!problem.retry) return;
  let left = Math.ceil(problem.retry);
  const tick = () => {
    $("retry").textContent = `Try again (by itself in ${left} s)`;
    if (left-- <= 0) retry();
  };
  tick();
  countdown = setInterval(tick, 1000);
}

/** Says why there are no results, and what may help. */
export function showNothing(view, matches, also) {
  if (matches === 0) {
    $("nothing-title").textContent = "No document passes the filters";
    $("nothing-hint").textContent = "Take one back, or choose more values.";
  } else if (view.similar) {
    $("nothing-title").textContent = "No other document is similar";
    $("nothing-hint").textContent = "";
  } else {
    $("nothing-title").textContent = `Nothing found for “${view.q}”`;
    $("nothing-hint").textContent = view.mode === "lexical"
      ? "No document has these words. Semantic also finds what is said in other words."
      : "Try other words, or fewer of them.";
  }
  show("about", "nothing", ...also);
}

/** Lists a view's filters as buttons that take them back; `changed` is called with the filters that remain, `types` are
 *  those of the columns. */
export function listFilters(filters, changed, types) {
  const { choices, bounds, near } = filters;
  const without = (part, field) => ({ ...filters, [part]: Object.fromEntries(Object.entries(filters[part]).filter(([name]) => name !== field)) });
  const kept = (field, value) => choices[field].filter((each) => each !== value);
  const chips = [
    ...Object.entries(choices).flatMap(([field, values]) =>
      values.map((value) => [
        `${labelOf(field)}: ${choiceText(value, types[field])}`,
        values.length > 1 ? { ...filters, choices: { ...choices, [field]: kept(field, value) } } : without("choices", field),
      ])),
    ...Object.entries(bounds).map(([field, ends]) => [`${labelOf(field)} ${boundsText(ends)}`, without("bounds", field)]),
    ...(near ? [[`Within ${near.km} km`, { ...filters, near: null }]] : []),
  ];
  if (chips.length > 1) chips.push(["Remove all", noFilters()]);
  $("chosen").replaceChildren(
    ...chips.map(([text, rest]) => {
      const item = make("li");
      const button = make("button", text, rest === chips.at(-1)[1] && chips.length > 1 ? "all" : "chip");
      button.type = "button";
      button.ariaLabel = text === "Remove all" ? "Remove all filters" : `Remove the filter ${text}`;
      button.onclick = () => changed(rest);
      item.append(button);
      return item;
    }),
  );
}

function boundsText({ gte, lte }) {
  if (gte === undefined) return `up to ${lte}`;
  return lte === undefined ? `from ${gte}` : gte === lte ? gte : `${gte} – ${lte}`;
}
