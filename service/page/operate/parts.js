// What the pages of operators are made of: facts, bars, tables.

import { make } from "../nodes.js";

export const count = (n) => n.toLocaleString("en");

/** A size as people read it. */
export function sizeText(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${power && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** A moment in the reader's language and time zone. */
export function timeNode(moment) {
  const text = new Intl.DateTimeFormat(navigator.language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(moment));
  const node = make("time", text);
  node.dateTime = moment;
  node.lang = navigator.language;
  return node;
}

/** Fills a list of names and values; those without a value are left out. */
export function fillFacts(list, facts) {
  list.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
    if (value === null || value === undefined || value === "") return [];
    const row = make("div");
    const told = make("dd");
    told.append(value);
    row.append(make("dt", name), told);
    return [row];
  }));
}

/** Fills a list with bars: [name, number, text], the longest for the largest number. */
export function fillBars(list, rows) {
  const most = Math.max(...rows.map(([, number]) => number), 1);
  list.replaceChildren(...rows.map(([name, number, text]) => {
    const node = make("li");
    const bar = make("span", "", "bar");
    bar.append(make("i"));
    bar.firstChild.style.inlineSize = `${(100 * number) / most}%`;
    node.append(make("span", name, "name"), " ", bar, " ", make("span", text, "value"));
    return node;
  }));
}

/** Fills a table: its head, and rows of which the first cell is the name. */
export function fillTable(table, head, rows) {
  const top = make("tr");
  top.append(...head.map((name) => Object.assign(make("th", name), { scope: "col" })));
  const lines = rows.map(([name, ...values]) => {
    const line = make("tr");
    const first = make("th");
    first.scope = "row";
    first.append(name);
    line.append(first, ...values.map((value) => make("td", value)));
    return line;
  });
  table.replaceChildren(top, ...lines);
}
