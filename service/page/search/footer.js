// What the page says of the model that answers.

import { ask } from "../api.js";
import { make } from "../nodes.js";
import { verdictText } from "../verdict.js";

let told = ""; // the id of the model that the footer tells of

/** Says in the footer which model answers, and what training has brought it. A search only names the model, so what
 *  there is to say of it is asked for once. */
export async function tellModel(index, model) {
  if (!index?.model || index.model === told) return;
  told = index.model;
  model ??= (await ask("info").catch(() => ({}))).model;
  if (model?.id !== told) return void (told = ""); // the index has changed meanwhile; the next answer tries again
  const name = model.name.split("/").at(-1);
  const said = document.getElementById("model");
  said.textContent = `${name}. ${verdictText(model)}`;
  document.getElementById("report").hidden = !model.report;
  if (!model.report) return;
  const link = make("a", "report");
  link.href = model.report;
  said.append(" · ", link);
}
