// The status page: GET /status.json as a person reads it.

import { ask } from "../api.js";
import { make } from "../nodes.js";
import { showTrouble } from "../trouble.js";
import { verdictText } from "../verdict.js";
import { count, fillBars, fillFacts, sizeText, timeNode } from "./parts.js";

const KINDS = { masked: "Masked-language model", classifier: "Classifier", reranker: "Re-ranker", sparse: "Learned-sparse model" };
const $ = (id) => document.getElementById(id);
const documents = (n) => `${count(n)} document${n === 1 ? "" : "s"}`;

async function load() {
  $("main").ariaBusy = "true";
  try {
    show(await ask("status.json"));
    $("problem").hidden = true;
    $("answer").hidden = false;
  } catch (problem) {
    $("answer").hidden = true;
    showTrouble($("problem"), problem, load);
  }
  $("main").ariaBusy = "false";
}

function show(status) {
  const of = (...kinds) => status.artifacts.filter(({ kind }) => kinds.includes(kind));
  const model = of("model").find(({ id }) => id === status.model);
  fillFacts($("serving"), {
    Documents: status.documents === null ? null : count(status.documents),
    "Nothing yet": status.reason,
    Index: status.index,
    Model: model && `${nameOf(model)} · ${model.id}`,
    Training: model && verdictText(model),
    Store: status.store === "milvus" ? "Milvus" : "files of the data directory",
    Running: started(status),
  });
  document.querySelectorAll(".data").forEach((node) => (node.textContent = status.data));
  fill($("models"), of("model"), "no model yet");
  fill($("indexes"), of("index"), "no index yet");
  fill($("others"), of(...Object.keys(KINDS)), "");
  $("others-part").hidden = !of(...Object.keys(KINDS)).length;
  showWrites(status.writes);
  const { open, capacity, cores, workers } = status.queue;
  fillFacts($("queue"), { "Waiting or running": `${count(Math.max(open, 0))} of at most ${count(capacity)}`, "Encoded at once": `${cores}`, Workers: `${workers}` });
  const { free_bytes: free, total_bytes: total, used_bytes: used } = status.disk;
  $("room").textContent = `${sizeText(free)} of ${sizeText(total)} are free.`;
  fillBars($("disk"), Object.entries(used).sort((a, b) => b[1] - a[1]).map(([name, bytes]) => [name, bytes, sizeText(bytes)]));
  showQueries(status.queries);
}

function started({ version, started: moment }) {
  const node = make("span", `Dowse ${version} since `);
  node.append(timeNode(moment));
  return node;
}

function showWrites({ accepted, documents: put, changed, set_aside: aside, since, last, log_bytes: bytes }) {
  fillFacts($("writes"), {
    Accepted: accepted ? "yes" : "no: start the service with --writable",
    "Not in the index yet": changed ? `${documents(put)} put, ${count(changed - put)} deleted` : "none",
    "Set aside": aside ? `${count(aside)}: run python -m indexer verify` : null,
    "Since the index of": since && timeNode(since),
    "Last write": last && timeNode(last),
    "Size of the log": sizeText(bytes),
  });
}

async function showQueries({ kept, problem, dropped, bytes }) {
  const facts = kept
    ? { "Query log": problem ? `not written: ${problem}` : "kept", "Not kept": dropped ? count(dropped) : null, Size: sizeText(bytes) }
    : { "Query log": "none: start the service with --query-log" };
  fillFacts($("queries"), facts);
  $("queries").nextElementSibling.hidden = !kept;
  if (!kept) return;
  const week = await ask("queries.json?days=7&limit=1").catch(() => null);
  if (!week) return;
  const { searches, nothing, milliseconds } = week;
  fillFacts($("queries"), { ...facts, "Last 7 days": `${count(searches)} searches, ${count(nothing)} without a result`, "Half took no longer than": milliseconds && `${milliseconds.p50.toFixed(1)} ms` });
}

const nameOf = ({ name, id }) => name?.split("/").at(-1) ?? id;

function fill(list, artifacts, none) {
  list.replaceChildren(...(artifacts.length ? artifacts.map(artifactNode) : [make("li", none)]));
}

function artifactNode(artifact) {
  const { id, kind, current, serving, created, documents: size, model, problem, report, activate } = artifact;
  const node = make("li");
  const head = make("p", "", "head");
  head.append(make("strong", kind === "index" ? (size === null || size === undefined ? id : documents(size)) : nameOf(artifact)));
  if (current) head.append(" ", make("span", "live", "badge is-live"));
  if (serving && !(current && kind === "index")) head.append(" ", make("span", "answers now", "badge"));
  if (artifact.verdict) head.append(" ", make("span", artifact.verdict, `badge is-${artifact.verdict.toLowerCase()}`));
  const facts = make("p", "", "about");
  if (created) facts.append(timeNode(created), " · ");
  facts.append(make("code", id));
  if (model) facts.append(" · model ", make("code", model));
  node.append(head, facts);
  if (kind === "model" && !problem) node.append(make("p", `${verdictText(artifact)}.`));
  if (KINDS[kind]) node.append(make("p", KINDS[kind]));
  if (problem) node.append(make("p", problem, "bad"));
  if (report) {
    const link = make("a", "Report");
    link.href = report;
    link.ariaLabel = `Report of ${id}`;
    const line = make("p");
    line.append(link);
    node.append(line);
  }
  if (activate && !problem) node.append(commandNode(activate, id));
  return node;
}

/** A command with a button that copies it; where the browser keeps its clipboard, the command is selected. */
function commandNode(command, id) {
  const line = make("p", "", "command");
  const code = make("code", command);
  const button = make("button", "Copy");
  button.type = "button";
  button.ariaLabel = `Copy the command that activates ${id}`;
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(command);
      $("told").textContent = "Copied.";
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    } catch {
      getSelection().selectAllChildren(code);
      $("told").textContent = "The command is selected.";
    }
  };
  line.append(code, " ", button);
  return line;
}

$("again").onclick = load;
load();
