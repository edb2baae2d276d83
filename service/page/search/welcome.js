// The first screen: queries that the corpus answers well, for somebody who does not know what to ask.

import { ask } from "../api.js";
import { make } from "../nodes.js";

/** Asks for examples and shows them as links, whose addresses `urlOf(query)` gives; `go(link)` follows one on this page. */
export async function showExamples(signal, urlOf, go) {
  const list = document.getElementById("examples");
  const { queries } = await ask("search/examples", { signal }).catch(() => ({ queries: [] }));
  if (signal.aborted) return;
  const links = queries.map((query) => {
    const link = make("a", query, "button");
    link.href = urlOf(query);
    go(link);
    return link;
  });
  list.replaceChildren(list.firstElementChild, ...links);
  list.hidden = !links.length;
}
