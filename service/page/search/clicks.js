// What is opened, told to POST /feedback where the operator has allowed it (--clicks); else nothing is sent.

import { key } from "../key.js";

let told = new Set(); // what was sent from this page: opening the same result again says nothing new

/** Tells that a result was opened for a query. The answer does not matter, and the page may be left meanwhile. */
export function tellClick(allowed, query, { id, rank }) {
  const once = JSON.stringify([query, id]);
  if (!allowed || !query || told.has(once)) return;
  told.add(once);
  const headers = { "Content-Type": "application/json", ...(key() && { Authorization: `Bearer ${key()}` }) };
  const body = JSON.stringify({ query, document: id, click: true, rank });
  fetch("feedback", { method: "POST", headers, body, keepalive: true }).catch(() => {});
}
