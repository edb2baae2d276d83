// The order of the results: the choices that the columns of an index allow, and how the API is asked for one.
//
// In a view and its URL an order is `price`, `-price` for descending, `near` for the distance from the middle of the
// circle that is searched, or empty: by relevance or, where nothing is asked, in the order of the corpus.

import { labelOf } from "../filters/columns.js";
import { make } from "../nodes.js";

const MOST = 8; // columns that are offered
export const NEAR = "near";

/** The API's `sort` of a view, null where it has none. */
export function sortOf({ sort, filters }, columns) {
  if (sort === NEAR && columns.place) {
    const { lat, lon } = filters.near ?? {};
    return lat === undefined ? null : [{ ...columns.place, near: { lat, lon } }];
  }
  if (!sort || sort === NEAR) return null;
  return [sort.startsWith("-") ? { field: sort.slice(1), order: "desc" } : { field: sort }];
}

/** What there is to choose from: [[value, text]]. */
export function choicesOfOrder({ q, similar, sort, filters }, columns) {
  const numbers = columns.numbers.map((field) => [field, "low to high", "high to low"]);
  const dates = columns.dates.map((field) => [field, "oldest first", "newest first"]);
  const orders = [...numbers, ...dates].slice(0, MOST).flatMap(([field, up, down]) => [
    [field, `${labelOf(field)}: ${up}`],
    [`-${field}`, `${labelOf(field)}: ${down}`],
  ]);
  const near = filters.near && columns.place ? [[NEAR, "Nearest first"]] : [];
  const choices = [["", q || similar ? "Best match" : "As in the corpus"], ...near, ...orders];
  const known = choices.some(([value]) => value === sort);
  return known || sort === NEAR ? choices : [...choices, [sort, labelOf(sort.replace(/^-/, ""))]]; // of a link
}

/** Shows the choices, and the one that the view has; nothing where there is but one. */
export function showOrder(label, view, columns) {
  const select = label.querySelector("select");
  const choices = choicesOfOrder(view, columns);
  select.replaceChildren(
    ...choices.map(([value, text]) => {
      const option = make("option", text);
      option.value = value;
      return option;
    }),
  );
  select.value = choices.some(([value]) => value === view.sort) ? view.sort : "";
  label.hidden = choices.length < 2;
}
