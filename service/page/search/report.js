// The training report where the service asks for a key: a link cannot send one, so the page asks for the report and
// becomes it. Its style sheet is taken over by way of an object, for the page's policy allows none in the markup.

import { ask } from "../api.js";
import { key } from "../key.js";

/** Opens the report by this link: as any other link where no key is needed. */
export function openWithKey(link) {
  link.addEventListener("click", async (event) => {
    if (key() === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const text = await ask(link.href, { as: "text" });
    history.pushState({}, "", link.href);
    addEventListener("popstate", () => location.reload());
    become(text);
  });
}

function become(text) {
  const styles = [];
  const markup = text.replace(/<style>([^]*?)<\/style>/g, (_, style) => (styles.push(style), ""));
  const report = new DOMParser().parseFromString(markup, "text/html");
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles.join("\n"));
  document.querySelectorAll("link[rel=stylesheet]").forEach((link) => link.remove());
  document.adoptedStyleSheets = [sheet];
  document.title = report.title;
  document.body.className = report.body.className;
  for (const part of document.body.children) part.hidden = true; // kept, for answers that are still to come
  document.body.append(...report.body.childNodes);
  scrollTo(0, 0);
}
