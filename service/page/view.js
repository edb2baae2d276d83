// What the page shows, as its URL says it and as the API is asked for it. Nothing here touches the document.
//
// A view is { q, mode, varied, sort, similar, title, filters }; search/sort.js says what `sort` is. Filters are { choices: { field: [value] },
// bounds: { field: { gte, lte } }, near: { lat, lon, km } | null }; in the URL they read choose.FIELD=, from.FIELD=,
// to.FIELD= and near=lat,lon,km.

import { sortOf } from "./search/sort.js";

const MODES = ["hybrid", "dense", "lexical"];
const VARIETY = 0.5; // of the API's `diversity`, where the box is ticked
const BOUNDS = { from: "gte", to: "lte" };

export const noFilters = () => ({ choices: {}, bounds: {}, near: null });

/** The number of fields that a view's filters restrict. */
export const restricted = ({ choices, bounds, near }) => Object.keys(choices).length + Object.keys(bounds).length + (near ? 1 : 0);

/** The view of a query string; what is wrong in it is left out. */
export function readUrl(search) {
  const params = new URLSearchParams(search);
  const filters = noFilters();
  for (const [name, value] of params) {
    const [kind, field] = halves(name);
    if (!field) continue;
    if (kind === "choose") filters.choices[field] = [...(filters.choices[field] ?? []), value];
    else if (kind in BOUNDS && value) filters.bounds[field] = { ...filters.bounds[field], [BOUNDS[kind]]: value };
  }
  const [lat, lon, km] = (params.get("near") ?? "").split(",").map(Number);
  if (Math.abs(lat) <= 90 && Math.abs(lon) <= 180 && km > 0) filters.near = { lat, lon, km };
  return {
    q: params.get("q") ?? "",
    mode: MODES.includes(params.get("mode")) ? params.get("mode") : "hybrid",
    varied: params.has("varied"),
    sort: params.get("sort") ?? "",
    similar: params.get("similar"),
    filters,
  };
}

/** The query string of a view, from which readUrl makes the same view. */
export function urlOf({ q, mode, varied, sort = "", similar, filters }) {
  const params = new URLSearchParams();
  if (similar) params.set("similar", similar);
  if (q) params.set("q", q); // kept next to ?similar= so that the way back survives a reload
  if (mode !== "hybrid") params.set("mode", mode);
  if (varied) params.set("varied", "");
  if (sort) params.set("sort", sort);
  for (const [field, values] of Object.entries(filters.choices)) values.forEach((value) => params.append(`choose.${field}`, value));
  for (const [field, bounds] of Object.entries(filters.bounds)) {
    for (const [name, bound] of Object.entries(BOUNDS)) if (bounds[bound] !== undefined) params.set(`${name}.${field}`, bounds[bound]);
  }
  if (filters.near) params.set("near", ["lat", "lon", "km"].map((part) => filters.near[part]).join(","));
  return String(params) ? `?${params}` : "./";
}

/** The API's filter tree for a view's filters, null where there are none. `except` names a field to leave out, as the
 *  counts of its own values want it; `columns` know the types of the values and which two columns are places. */
export function filterTree({ choices, bounds, near }, columns, except = null) {
  const must = [];
  for (const [field, values] of Object.entries(choices)) must.push({ field, in: values.map((value) => columns.typed(field, value)) });
  for (const [field, ends] of Object.entries(bounds)) must.push({ field, ...columns.ends(field, ends) });
  if (near && columns.place) must.push({ ...columns.place, within: near });
  const kept = must.filter(({ field }) => field === undefined || field !== except);
  return kept.length ? { must: kept } : null;
}

/** What decides which documents a view with a query finds. The last word may be half typed. */
export const findingOf = ({ q, mode }) => ({ query: q, mode, prefix: true });

/** What to ask for a view: [path, body]. One without a query and a document lists the documents. */
export function question(view, columns, size, offset) {
  const { q, varied, similar, filters } = view;
  const filter = filterTree(filters, columns);
  const sort = sortOf(view, columns);
  const common = { top_k: size, offset, ...(filter && { filter }), ...(sort && { sort }) };
  if (similar) return ["similar", { ids: [similar], ...common }];
  if (!q) return ["search", common];
  return ["search", { ...findingOf(view), explain: true, ...common, ...(varied && !sort && { diversity: VARIETY }) }];
}

function halves(name) {
  const dot = name.indexOf(".");
  return dot < 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot + 1)];
}
