// Asking the service.

import { Dowse, Problem } from "./dowse.js";
import { parse, stringify } from "./exact.js";
import { askForKey, key } from "./key.js";

/** The answer to a GET, or to a POST of `body`: as JSON, or as a page's { text, type }. Throws what a problem page needs: title, detail, request_id, and
 *  `retry`, the seconds after which asking again makes sense. Where a key is needed, the user is asked for it. */
export async function ask(path, { body, signal, as = "json" } = {}) {
  const used = key();
  const dowse = new Dowse("", { key: used, retries: 0, parse, stringify }); // the page itself says that it tries again
  try {
    return await dowse.request(path, { body, signal, as });
  } catch (problem) {
    if (problem.status === 401 && !signal?.aborted && (await askForKey(used, problem.detail))) return ask(path, { body, signal, as });
    throw problem instanceof Problem ? { ...problem } : problem; // to the pages, what is an Error is a fault of their own
  }
}
