// Asking the service.

import { parse, stringify } from "./exact.js";
import { askForKey, key } from "./key.js";

const PATIENCE = 5; // seconds to the next try where the service is busy and does not say how long

const ACCEPTED = { json: "application/json", page: "text/html, application/json;q=0.9, */*;q=0.8" };

/** The answer to a GET, or to a POST of `body`: as JSON, or as a page's { text, type }. Throws what a problem page needs: title, detail, request_id, and
 *  `retry`, the seconds after which asking again makes sense. Where a key is needed, the user is asked for it. */
export async function ask(path, { body, signal, as = "json" } = {}) {
  const used = key();
  const headers = {
    Accept: ACCEPTED[as],
    ...(body && { "Content-Type": "application/json" }),
    ...(used && { Authorization: `Bearer ${used}` }),
  };
  const options = { signal, headers, ...(body && { method: "POST", body: stringify(body) }) };
  const response = await fetch(path, options).catch(() => {
    throw { title: "The service does not answer", detail: "Check that it is running and that you are online." };
  });
  const text = await response.text().catch(() => "");
  const type = response.headers.get("Content-Type") ?? "";
  const answer = response.ok && as === "page" ? { text, type } : jsonOf(text);
  if (response.ok && answer) return answer;
  if (response.status === 401 && !signal?.aborted && (await askForKey(used, answer?.detail))) return ask(path, { body, signal, as });
  throw {
    title: `The service answered with status ${response.status}`,
    status: response.status,
    request_id: response.headers.get("X-Request-ID"),
    retry: [429, 503].includes(response.status) ? Number(response.headers.get("Retry-After")) || PATIENCE : null,
    ...answer,
  };
}

function jsonOf(text) {
  try {
    return parse(text);
  } catch {
    return null;
  }
}
