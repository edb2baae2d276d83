// The filters beside the results. What there is to filter by follows from the columns of the index; how many documents
// each value has, from the API's facets: of what the query finds, or of all where there is none.

import { ask } from "../api.js";
import { numberOf } from "../exact.js";
import { choiceText, choicesOf, edgesOf, isWhole, labelOf } from "./columns.js";
import { make } from "../nodes.js";
import { slider } from "./slider.js";
import { filterTree } from "../view.js";

const AT_ONCE = 20; // facets that one request may ask for
const OPEN = 5; // groups that are open from the start
const SHOWN = 6; // values of a group that are shown from the start

/** Asks for facets over the documents that pass a filter and, of these, over what the search `found` finds; an empty one
 *  finds all. Of its results nothing is wanted. */
async function facetsOf(found, facets, filter, signal) {
  const parts = Array.from({ length: Math.ceil(facets.length / AT_ONCE) }, (_, i) => facets.slice(i * AT_ONCE, (i + 1) * AT_ONCE));
  const common = { ...found, top_k: 1, fields: [], ...(filter && { filter }) };
  const answers = await Promise.all(parts.map((part) => ask("search", { body: { ...common, facets: part }, signal })));
  return { index: answers[0].index, facets: Object.assign({}, ...answers.map((answer) => answer.facets)) };
}

/** What the columns of an index hold: { facets, documents }, over all documents. */
export async function overviewOf(columns, signal) {
  if (!columns.overview.length) return { facets: {}, documents: 0 };
  const { facets, index } = await facetsOf({}, columns.overview, null, signal);
  return { facets, documents: index.documents };
}

export class Filters {
  /** `changed(field, part)` is called with { choices: [value] } or { bounds: { gte, lte } }, null in place of either for
   *  no restriction. */
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.groups = [];
  }

  /** Makes a control for each column that is good to filter by. */
  build(columns, { facets, documents }) {
    this.columns = columns;
    const makers = { choices: choiceGroup, numbers: numberGroup, dates: dateGroup };
    this.groups = Object.keys(columns.types).flatMap((field) => {
      const kind = Object.keys(makers).find((each) => columns[each].includes(field));
      const group = kind && facets[field] && makers[kind](field, facets[field], documents, (part) => this.changed(field, part), columns.types[field]);
      return group ? [group] : [];
    });
    this.groups.forEach((group, i) => (group.node.open = i < OPEN));
    this.root.replaceChildren(...this.groups.map(({ node }) => node));
  }

  /** Shows a view's filters in the controls. */
  show({ choices, bounds }) {
    for (const group of this.groups) {
      const chosen = choices[group.field]?.length ?? (bounds[group.field] ? 1 : 0);
      group.badge.textContent = chosen || "";
      if (chosen && !group.shown) group.node.open = true;
      group.shown = chosen > 0;
      group.show(choices[group.field] ?? [], bounds[group.field] ?? {});
    }
  }

  /** Counts the documents of each value. The values of a restricted column are counted as if it were not restricted:
   *  they say what one more choice would bring. */
  async count(found, filters, signal) {
    if (!this.groups.length) return;
    const restricted = this.groups.filter(({ field }) => filters.choices[field] || filters.bounds[field]);
    const questions = restricted.map((group) => [[group], group.field]);
    const free = this.groups.filter((group) => !restricted.includes(group));
    if (free.length) questions.push([free, null]);
    const answers = await Promise.all(
      questions.map(([groups, except]) =>
        facetsOf(found, groups.map((group) => group.facet), filterTree(filters, this.columns, except), signal)),
    );
    if (signal?.aborted) return;
    answers.forEach(({ facets }, i) => questions[i][0].forEach((group) => group.count(facets[group.field])));
  }
}

/** The frame of a group: a heading that folds it, with the number of its choices. */
function frame(field) {
  const node = make("details", "", "facet");
  const badge = make("span", "", "badge");
  const summary = make("summary", labelOf(field));
  summary.append(" ", badge);
  node.append(summary);
  return { field, node, badge, shown: false };
}

function choiceGroup(field, facet, documents, changed, type) {
  const values = choicesOf(facet, documents);
  if (!values.length) return null;
  const group = frame(field);
  const list = make("ul", "", "choices");
  const named = make("div");
  named.role = "group";
  named.ariaLabel = labelOf(field);
  named.append(list);
  const more = make("button", `Show all ${values.length}`, "rest");
  more.type = "button";
  const boxes = new Map();
  const chosen = () => [...boxes].filter(([, { box }]) => box.checked).map(([value]) => value);
  const add = (value, count) => {
    const item = make("li");
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.onchange = () => changed({ choices: chosen().length ? chosen() : null });
    const number = make("span", count.toLocaleString("en"), "count");
    label.append(box, make("span", choiceText(value, type), "name"), number);
    item.append(label);
    list.append(item);
    boxes.set(value, { box, item, number });
  };
  values.forEach(({ value, count }) => add(String(value), count));
  group.node.append(named);
  if (values.length > SHOWN + 1) group.node.append(more);
  const fold = (folded) => [...boxes.values()].forEach(({ item, box }, i) => (item.hidden = folded && i >= SHOWN && !box.checked));
  let folded = values.length > SHOWN + 1;
  fold(folded);
  more.onclick = () => {
    folded = !folded;
    fold(folded);
    more.textContent = folded ? `Show all ${values.length}` : "Show fewer";
    more.ariaExpanded = String(!folded);
  };
  more.ariaExpanded = "false";
  return {
    ...group,
    facet: { field, limit: values.length + 10 },
    show(selected) {
      for (const value of selected) if (!boxes.has(value)) add(value, 0); // from a link, and not among the frequent ones
      for (const [value, { box }] of boxes) box.checked = selected.includes(value);
      fold(folded);
    },
    count(facet) {
      const counts = new Map(facet.values.map(({ value, count }) => [String(value), count]));
      for (const [value, { number, item }] of boxes) {
        const count = counts.get(value) ?? 0;
        number.textContent = count.toLocaleString("en");
        item.classList.toggle("is-empty", count === 0);
      }
    },
  };
}

function numberGroup(field, { values, min, max, missing }, documents, changed, type) {
  const all = values.reduce((sum, { count }) => sum + count, 0) === documents - missing;
  const whole = isWhole(type) || (all && values.every(({ value }) => typeof value === "bigint" || Number.isInteger(value))); // a column with gaps is of floats
  const edges = edgesOf(min, max, whole);
  if (edges.length < 3) return null;
  const group = frame(field);
  const control = slider({ label: labelOf(field), edges, whole, min, max }, (bounds) => changed({ bounds }));
  group.node.append(control.node);
  const ranges = edges.slice(1).map((lt, i) => ({ gte: edges[i], lt }));
  return {
    ...group,
    facet: { field, limit: 0, ranges },
    show: (_, { gte, lte }) => control.set({ gte: gte && numberOf(gte), lte: lte && numberOf(lte) }),
    count: (facet) => control.histogram(facet.ranges.map(({ count }) => count)),
  };
}

function dateGroup(field, { min, max }, _documents, changed) {
  if (!min || min === max) return null;
  const group = frame(field);
  const row = make("div", "", "dates");
  const inputs = ["From", "To"].map((name) => {
    const label = make("label", name);
    const input = make("input");
    Object.assign(input, { type: "date", min: min.slice(0, 10), max: max.slice(0, 10) });
    label.append(input);
    row.append(label);
    return input;
  });
  const [from, to] = inputs;
  const choose = () => {
    const bounds = { ...(from.value && { gte: from.value }), ...(to.value && { lte: to.value }) };
    changed({ bounds: Object.keys(bounds).length ? bounds : null });
  };
  inputs.forEach((input) => (input.onchange = choose));
  group.node.append(row);
  return {
    ...group,
    facet: { field, limit: 0 },
    show: (_, { gte = "", lte = "" }) => ((from.value = gte), (to.value = lte)),
    count: () => {}, // a date has no histogram
  };
}
