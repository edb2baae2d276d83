// The key that a service may ask for: kept until the tab is closed, and sent with every request.

import { make } from "./nodes.js";

const NAME = "dowse-key";
const KEPT = "It is kept until you close this tab, and sent to nobody else.";
let asking = null; // the dialog that is open; every request that needs a key waits for the same one

export const key = () => sessionStorage.getItem(NAME);

/** Whether this problem may be none for another key. */
export const otherKeyHelps = ({ status, type }) => status === 401 || type === "urn:dowse:problem:forbidden";

/** What the button says that lets the user change the key. */
export const changeLabel = () => (key() === null ? "Enter a key" : "Use another key");

/** Offers to use another key than the one that is in use, and is true once there is another. */
export function changeKey() {
  asking ??= dialog(changeLabel(), KEPT).finally(() => (asking = null));
  return asking;
}

/** Asks the user for a key, and is true once there is another than the one that was `refused` (null for none). */
export async function askForKey(refused, detail) {
  if (key() !== refused) return true; // it was asked for meanwhile
  const wrong = refused !== null;
  const title = wrong ? "This key is not accepted" : "This service asks for a key";
  asking ??= dialog(title, wrong && detail ? detail : KEPT, wrong).finally(() => (asking = null));
  return asking;
}

function dialog(heading, text, wrong = false) {
  const node = make("dialog", "", "key");
  const form = make("form");
  const title = make("h2", heading);
  const said = make("p", text);
  const label = make("label", "Key");
  const input = make("input");
  const row = make("p", "", "row");
  Object.assign(form, { method: "dialog" });
  Object.assign(input, { type: "password", required: true, autocomplete: "current-password", spellcheck: false, ariaInvalid: String(wrong) });
  title.id = "key-title";
  node.setAttribute("aria-labelledby", title.id);
  const [cancel, use] = ["Not now", "Use this key"].map((text) => make("button", text));
  cancel.type = "button";
  cancel.onclick = () => node.close();
  use.className = "primary";
  use.value = "use";
  row.append(cancel, use);
  label.append(input);
  form.append(title, said, label, row);
  form.onsubmit = () => sessionStorage.setItem(NAME, input.value.trim());
  node.append(form);
  document.body.append(node);
  node.showModal();
  return new Promise((resolve) => {
    node.onclose = () => {
      node.remove();
      resolve(node.returnValue === "use");
    };
  });
}
