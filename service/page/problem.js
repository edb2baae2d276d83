// The page of a problem, which a browser gets in place of JSON. A link cannot send a key. So where a key is what is missing,
// this page asks again with one, and becomes what the service then answers.

import { ask } from "./api.js";
import { changeKey, changeLabel, otherKeyHelps } from "./key.js";
import { make, prose } from "./nodes.js";

const STYLE = /<style\b[^>]*>([^]*?)<\/style>/g; // taken out before the page is parsed: the parser, too, follows the policy
const $ = (id) => document.getElementById(id);
const status = Number(document.body.dataset.status);

/** Asks for this page's own address with the key of this tab, and shows the answer or the problem. */
async function open() {
  $("problem").hidden = true;
  try {
    const { text, type } = await ask(location.href, { as: "page" });
    if (type.startsWith("text/html")) become(text);
    else show(text);
  } catch (problem) {
    if (problem instanceof Error) throw problem;
    say(problem);
  }
}

function say(problem) {
  const { title, detail, request_id: request, status: now } = problem;
  $("problem-title").textContent = title;
  document.title = `${title} – Dowse`;
  $("problem-detail").replaceChildren(...prose(detail ?? ""));
  $("problem-request").textContent = request ? `Request ${request}` : "";
  $("retry").hidden = now < 429 && now !== 401;
  $("rekey").hidden = !otherKeyHelps(problem);
  $("rekey").textContent = changeLabel();
  $("problem").hidden = false;
}

/** Shows an answer that is no page as the text that it is. */
function show(text) {
  document.title = "Dowse";
  $("main").replaceChildren(make("pre", text, "answer"));
}

/** Replaces this page, style sheets and all. The new style comes by way of an object, for the policy allows none in markup. */
function become(text) {
  const sheets = [];
  const unstyled = text.replace(STYLE, (_, rules) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(rules);
    sheets.push(sheet);
    return "";
  });
  const other = new DOMParser().parseFromString(unstyled, "text/html");
  other.querySelectorAll("meta[http-equiv]").forEach((meta) => meta.remove()); // the policy of this page is stricter
  document.documentElement.replaceWith(document.adoptNode(other.documentElement));
  document.adoptedStyleSheets = sheets;
}

$("retry").onclick = open;
$("rekey").onclick = async () => (await changeKey()) && open();
if (status === 401) open();
else say({ title: $("problem-title").textContent, detail: $("problem-detail").textContent, status, request_id: document.body.dataset.request });
