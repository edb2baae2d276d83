// The page of the query log: GET /queries.json as a person reads it.

import { ask } from "../api.js";
import { make } from "../nodes.js";
import { showTrouble } from "../trouble.js";
import { count, fillBars, fillFacts, fillTable } from "./parts.js";

const $ = (id) => document.getElementById(id);
const share = (part, all) => (all ? `${((100 * part) / all).toFixed(part && part < all / 10 ? 1 : 0)} %` : "–");

async function load() {
  $("main").ariaBusy = "true";
  try {
    show(await ask(`queries.json?days=${$("days").value}`));
    $("problem").hidden = true;
    $("answer").hidden = false;
  } catch (problem) {
    $("answer").hidden = true;
    showTrouble($("problem"), problem, load);
  }
  $("main").ariaBusy = "false";
}

function show({ searches, distinct, nothing, milliseconds, top, nothing_found: missed, clicks, clicks_by_rank: ranks, by_day: days }) {
  $("none").hidden = searches > 0;
  $("some").hidden = searches === 0;
  const time = (ms) => milliseconds && `${milliseconds[ms].toFixed(1)} ms`;
  fillFacts($("tiles"), {
    Searches: count(searches),
    "Different queries": count(distinct),
    "Found nothing": `${count(nothing)} (${share(nothing, searches)})`,
    "Results opened": count(clicks),
    "Half take up to": time("p50"),
    "95 % take up to": time("p95"),
    "99 % take up to": time("p99"),
  });
  const day = new Intl.DateTimeFormat(navigator.language, { dateStyle: "medium", timeZone: "UTC" });
  fillBars($("by-day"), days.map((each) => [day.format(new Date(each.day)), each.searches, `${count(each.searches)}${each.nothing ? `, ${count(each.nothing)} without a result` : ""}`]));
  fillTable($("top"), ["Query", "Searches", "Opened"], top.map((row) => [queryLink(row), count(row.searches), count(row.clicks)]));
  fillTable($("nothing"), ["Query", "Searches"], missed.map((row) => [queryLink(row), count(row.searches)]));
  $("nothing").hidden = !missed.length;
  $("nothing").parentNode.dataset.none = missed.length ? "" : "Every query has found something.";
  const ranked = ranks.reduce((sum, row) => sum + row.clicks, 0);
  $("ranks-hint").textContent = ranked ? "Where the results stood that people have opened. Many far down the list mean that the ranking can be better." : "No clicks with a rank are known: start the service with --clicks, or send them to POST /feedback.";
  fillBars($("ranks"), ranks.slice(0, 20).map((row) => [`Rank ${row.rank}`, row.clicks, `${count(row.clicks)} (${share(row.clicks, ranked)})`]));
}

function queryLink({ query }) {
  const link = make("a", query);
  link.href = `./?q=${encodeURIComponent(query)}`;
  return link;
}

$("days").onchange = load;
load();
