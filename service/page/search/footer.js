// What the page says of the model that answers.

import { ask } from "../api.js";
import { make } from "../nodes.js";

let told = ""; // the id of the model that the footer tells of
const ndcg = (value) => value.toFixed(3).replace(/^0/, "");

/** Says in the footer which model answers, and by how much it beat its base. A search only names the model, so what
 *  there is to say of it is asked for once. */
export async function tellModel(index, model) {
  if (!index?.model || index.model === told) return;
  told = index.model;
  model ??= (await ask("info").catch(() => ({}))).model;
  if (model?.id !== told) return void (told = ""); // the index has changed meanwhile; the next answer tries again
  const name = model.name.split("/").at(-1);
  const gains = Object.entries({ dense: model.dense, hybrid: model.hybrid }).filter(([, gain]) => gain);
  const figures = gains.map(([leg, gain], i) => `${leg}${i ? "" : " nDCG@10"} ${ndcg(gain.base)} → ${ndcg(gain.tuned)}`).join(", ");
  const judged = model.judged_by === "labels" ? "held-out queries" : "held-out synthetic queries";
  const tuned = ["tuned on this corpus", figures && `: ${figures} on ${judged}`, model.verdict !== "WIN" && `, verdict ${model.verdict}`];
  const said = document.getElementById("model");
  said.textContent = `${name}, ${model.tuned ? tuned.filter(Boolean).join("") : "not tuned on this corpus"}`;
  document.getElementById("report").hidden = !model.report;
  if (!model.report) return;
  const link = make("a", "report");
  link.href = model.report;
  said.append(" · ", link);
}
