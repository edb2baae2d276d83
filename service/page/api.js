// What both pages share: asking the service, and making nodes of what it says.
// Text only enters a page through textContent or an attribute's value, never as markup.

/** The answer to a GET, or to a POST of `body`. Throws what a problem page needs: title, detail, request_id. */
export async function ask(path, signal, body) {
  const headers = { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) };
  const options = { signal, headers, ...(body && { method: "POST", body: JSON.stringify(body) }) };
  const response = await fetch(path, options).catch(() => {
    throw { title: "The service does not answer", detail: "Check that it is running and that you are online." };
  });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw { title: `The service answered with status ${response.status}`, request_id: response.headers.get("X-Request-ID"), ...answer };
}

export function make(tag, text = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

/** A sentence that quotes commands in backticks, as prose does; they read better as code. */
export const prose = (text) => String(text).split("`").map((piece, i) => (i % 2 ? make("code", piece) : piece));
