// Asking the service.

import { askForKey, key } from "./key.js";

const PATIENCE = 5; // seconds to the next try where the service is busy and does not say how long

/** The answer to a GET, or to a POST of `body`, as JSON or as text. Throws what a problem page needs: title, detail, request_id, and
 *  `retry`, the seconds after which asking again makes sense. Where a key is needed, the user is asked for it. */
export async function ask(path, { body, signal, as = "json" } = {}) {
  const used = key();
  const headers = {
    Accept: "application/json",
    ...(body && { "Content-Type": "application/json" }),
    ...(used && { Authorization: `Bearer ${used}` }),
  };
  const options = { signal, headers, ...(body && { method: "POST", body: JSON.stringify(body) }) };
  const response = await fetch(path, options).catch(() => {
    throw { title: "The service does not answer", detail: "Check that it is running and that you are online." };
  });
  const answer = await response[response.ok ? as : "json"]().catch(() => null);
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
