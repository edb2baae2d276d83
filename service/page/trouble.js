// A problem within a page: what went wrong, and what may help.

import { changeKey, changeLabel, otherKeyHelps } from "./key.js";
import { make, prose } from "./nodes.js";

/** Shows a problem. What was asked wrongly (422) has to be asked otherwise; anything else may be tried again. */
export function showTrouble(node, problem, retry) {
  const wrong = problem.status === 422;
  const said = wrong ? problem.errors.map((error) => error.message).join("; ") : (problem.detail ?? problem.message ?? "");
  const detail = make("p");
  detail.append(...prose(said));
  node.replaceChildren(make("h3", wrong ? "This cannot be read" : (problem.title ?? "The page failed")), detail);
  if (!wrong) {
    const button = make("button", "Try again");
    button.type = "button";
    button.onclick = retry;
    node.append(...(problem.request_id ? [make("p", `Request ${problem.request_id}`, "small")] : []), button);
  }
  if (otherKeyHelps(problem)) {
    const button = make("button", changeLabel());
    button.type = "button";
    button.onclick = async () => (await changeKey()) && retry();
    node.append(" ", button);
  }
  node.hidden = false;
}
