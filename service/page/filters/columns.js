// What the metadata columns are good for: choices to tick, bounds to set, places on the map, or only to be read.

import { numberOf } from "../exact.js";

const MOST_CHOICES = 50; // values of a column that are asked for
const LONGEST_CHOICE = 48; // characters; longer texts are prose and no values to choose from
const LATITUDE = /^(.*?)(lat|latitude|latitud|latitudine|breitengrad)$/i;
const LONGITUDES = ["lon", "lng", "long", "longitude", "longitud", "longitudine", "längengrad", "laengengrad"];
const STEPS = 24; // roughly how many steps a slider has
const MOST_EDGES = 50; // the API counts at most 50 ranges
const SKEW = 40; // a column that spans more than this many times its smallest step gets a logarithmic slider

export const isNumber = (type) => /^(u?int|float|double|halffloat|decimal)/.test(type);
export const isWhole = (type) => /^u?int/.test(type);
export const isDate = (type) => /^(date|timestamp)/.test(type);
const isBool = (type) => type === "bool";
const isText = (type) => /^(large_)?string/.test(type);
const LIST = /^(?:large_|fixed_size_)?list(?:_view)?<[^:]+: (.+?)(?: not null)?>(?:\[\d+\])?$/;

/** The type of what a list holds, also in a list of lists; any other type itself. The API counts and compares these values. */
function elementOf(type) {
  const element = type.match(LIST)?.[1];
  return element === undefined ? type : elementOf(element);
}

/** Whether a column's values may be worth a box each: the API refuses to count lists of anything else, such as bytes. */
function isChoice(type) {
  const element = elementOf(type);
  return isText(element) || isBool(element) || (element !== type && /^(date|timestamp|time)/.test(element));
}

/** A column's name as a person would write it. */
export function labelOf(field) {
  const words = field.replace(/[_.]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A value to choose, as a person would write it. */
export const choiceText = (value, type) => (elementOf(type ?? "") === "bool" ? ({ true: "yes", false: "no" }[value] ?? value) : value);

/** The columns of an index: `types` is what GET /info says of its metadata, `page` what it says to this page. */
export class Columns {
  constructor(types = {}, page = {}) {
    this.types = types;
    this.page = page;
    this.place = placeOf(types);
    const place = Object.values(this.place ?? {});
    const rest = Object.keys(types).filter((field) => !place.includes(field));
    this.choices = rest.filter((field) => isChoice(types[field]));
    this.numbers = rest.filter((field) => isNumber(types[field]));
    this.dates = rest.filter((field) => isDate(types[field]));
  }

  /** A value of the URL, which is text, as the column's type has it. */
  typed(field, value) {
    const type = elementOf(this.types[field] ?? "string");
    if (isNumber(type) && Number.isFinite(Number(value))) return numberOf(value);
    return isBool(type) && ["true", "false"].includes(value) ? value === "true" : value;
  }

  /** Bounds of the URL as the API compares them: a last day counts to its end. */
  ends(field, { gte, lte }) {
    const lower = gte !== undefined && { gte: this.typed(field, gte) };
    if (lte === undefined) return lower;
    return { ...lower, ...(isDate(this.types[field] ?? "") ? { lt: dayAfter(lte) } : { lte: this.typed(field, lte) }) };
  }

  /** The facets that tell what each column holds. */
  get overview() {
    const places = Object.values(this.place ?? {}).map((field) => ({ field, limit: 0 }));
    return [...[...this.choices, ...this.numbers, ...this.dates].map((field) => ({ field, limit: MOST_CHOICES })), ...places];
  }
}

function dayAfter(date) {
  const midnight = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight.valueOf())) return date; // the API says what is wrong with it
  midnight.setUTCDate(midnight.getUTCDate() + 1);
  return midnight.toISOString().slice(0, 10);
}

/** The pair of number columns that are latitude and longitude, null where there is none. */
function placeOf(types) {
  const numbers = Object.keys(types).filter((field) => isNumber(types[field]));
  for (const latitude of numbers) {
    const prefix = latitude.match(LATITUDE)?.[1];
    if (prefix === undefined) continue;
    const longitude = numbers.find((field) => LONGITUDES.includes(field.slice(prefix.length).toLowerCase()) && field.startsWith(prefix));
    if (longitude) return { latitude, longitude };
  }
  return null;
}

/** The values of a column that are worth a box to tick, most frequent first; none where each document has its own. */
export function choicesOf({ values, missing }, documents) {
  const short = values.filter(({ value }) => value !== "" && String(value).length <= LONGEST_CHOICE);
  const empty = values.find(({ value }) => value === "")?.count ?? 0;
  const told = short.reduce((sum, { count }) => sum + count, 0);
  const holding = documents - missing - empty;
  return short.length > 1 && told > holding / 2 && told >= 2 * short.length ? short : [];
}

/** The edges of a slider's steps, ascending, for a column from `min` to `max`: each step is [edge, next edge). */
export function edgesOf(min, max, whole) {
  if (!(max > min)) return [];
  if (min >= 0 && max > SKEW * Math.max(Number(min), 1)) return logarithmic(min, max);
  if (whole) return wholeEdges(BigInt(min), BigInt(max));
  const step = nice((max - min) / STEPS);
  const first = Math.floor(min / step + 1e-9);
  const count = Math.floor(max / step + 1e-9) - first + 1; // the last step holds the maximum
  return Array.from({ length: count + 1 }, (_, i) => round((first + i) * step));
}

/** The edges of equal steps between whole numbers of any length: BigInts where doubles would round them. */
function wholeEdges(min, max) {
  const step = BigInt(Math.max(nice(Number(max - min) / STEPS), 1));
  const below = ((min % step) + step) % step; // how far the first edge is below `min`
  const count = Number((max - min + below) / step) + 1; // the last step holds the maximum
  return Array.from({ length: count + 1 }, (_, i) => numberOf(String(min - below + BigInt(i) * step)));
}

/** Steps of 1, 2, 3, 5, 7, 10, … or coarser, from the last that is not above `min` to the first that is above `max`. */
function logarithmic(min, max, factors = [1, 2, 3, 5, 7]) {
  const powers = Array.from({ length: Math.ceil(Math.log10(Number(max))) + 2 }, (_, power) => 10 ** power);
  const edges = [0, ...powers.flatMap((power) => factors.map((factor) => factor * power))];
  const first = edges.findLastIndex((edge) => edge <= min);
  const steps = edges.slice(first, edges.findIndex((edge) => edge > max) + 1);
  return steps.length > MOST_EDGES && factors.length > 1 ? logarithmic(min, max, factors.length > 2 ? [1, 3] : [1]) : steps;
}

/** The next larger of 1, 2, 5, 10, … */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return round([1, 2, 5, 10].find((factor) => factor * power >= value * (1 - 1e-9)) * power);
}

const round = (value) => Number(value.toPrecision(15)); // without what doubles add to 0.1 + 0.2
