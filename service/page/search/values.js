// Values of metadata as people read them: links, prices, dates in words, yes and no, lists. Which column is what follows
// from its name and type, unless the service says it.

import { stringify } from "../exact.js";
import { isDate, isNumber, labelOf } from "../filters/columns.js";
import { make } from "../nodes.js";

const LONG = 60; // characters from which on a value is only shown where its result is unfolded
const LINK_NAME = /^(?:(?:product|page|item|listing|article|canonical|detail|source)_?)?(?:url|link|href|uri|permalink|web_?page|website|homepage)$/i;
const IMAGE_NAME = /^(?:(?:[a-z]+_)?(?:image|img|picture|photo|foto|thumbnail|thumb|cover|imagen|immagine|imagem|afbeelding)|[a-z]*bild)s?(?:_?(?:url|link|uri|src))?s?$/i;
const IMAGE_FILE = /\.(?:avif|gif|jpe?g|png|svg|webp)$/i;
const PRICE_NAME = /(?:(?:^|[^a-z])(?:price|costs?|amount|fee|fare|rent|salary|kosten|betrag|prix|precio|prezzo|preco)|preis|prijs)(?:[^a-z]|$)/i;
const CURRENCY_NAME = /(?:^|_)(?:currency|wahrung|waehrung|devise|moneda|valuta|moeda)(?:_code)?$/i;
const CURRENCY_END = /_(usd|eur|gbp|chf|jpy|cad|aud|inr|cny|sek|nok|dkk|pln)$/i;

/** The address that a value is, null where it is none of the web. Nothing else ever becomes a link: `javascript:` runs. */
export function webAddress(value) {
  if (typeof value !== "string" || !/^https?:\/\/[^\s]+$/i.test(value)) return null;
  return URL.canParse(value) ? new URL(value) : null;
}

/** A link that gives the page it leads to neither this window nor this address, which holds the query. */
export function anchor(address, ...inside) {
  const node = make("a");
  node.href = address.href;
  node.rel = "noopener noreferrer";
  node.append(...inside);
  return node;
}

const addressesOf = (metadata) => Object.entries(metadata).flatMap(([field, value]) => {
  const address = webAddress(Array.isArray(value) ? value[0] : value);
  return address ? [{ field, address }] : [];
});
const isImage = ({ field, address }) => IMAGE_NAME.test(plain(field)) || IMAGE_FILE.test(address.pathname);

/** Where a result's title leads: { field, address }, of the column that the service names, or one that is called so, or
 *  the only one with an address. */
export function linkOf(metadata, named) {
  const found = addressesOf(metadata);
  if (named) return found.find(({ field }) => field === named) ?? null;
  const pages = found.filter((each) => !isImage(each));
  return pages.find(({ field }) => LINK_NAME.test(field)) ?? (pages.length === 1 ? pages[0] : null);
}

/** The picture of a result, as { field, address }; null where it comes from nowhere that the service allows. */
export function imageOf(metadata, named, sources = []) {
  if (!sources.length) return null;
  const found = addressesOf(metadata).filter(({ address }) => sources.some((source) => allows(source, address)));
  if (named) return found.find(({ field }) => field === named) ?? null;
  return found.find(({ field }) => IMAGE_NAME.test(plain(field))) ?? found.find(isImage) ?? null;
}

/** Whether a source of the policy, such as https://*.example.com, allows an address: what it refuses is not asked for. */
function allows(source, { protocol, host, origin }) {
  const [scheme, place] = source.split("//");
  return source === origin || (scheme === protocol && (!place || (place.startsWith("*.") && host.endsWith(place.slice(1)))));
}

/** The metadata of a result, each column as a name and its value. `aside` are columns that are shown elsewhere. */
export function metadataNodes(metadata, columns, aside) {
  const [named, currency] = Object.entries(metadata).find(([field, value]) => CURRENCY_NAME.test(plain(field)) && typeof value === "string") ?? [];
  const priced = Object.keys(metadata).some((field) => isPrice(field, columns.types[field] ?? ""));
  const hidden = new Set([...aside, ...(priced ? [named] : [])]); // a price says its currency itself
  return Object.entries(metadata).flatMap(([field, value]) => {
    const values = (Array.isArray(value) ? value : [value]).filter((one) => one !== null && one !== "");
    if (!values.length) return [];
    const told = values.map((one) => valueNode(one, field, columns.types[field] ?? "", currency));
    const text = told.map((node) => node.textContent).join(", ");
    const node = make("div", "", text.length > LONG || hidden.has(field) ? "is-long" : "");
    const list = make("dd");
    list.append(...(Array.isArray(value) ? told.map(asItem) : told));
    node.append(make("dt", labelOf(field)), list);
    if (text.length > 20) node.title = text; // the style sheet may cut it
    return [node];
  });
}

/** The name of a column without accents, the words of camelCase apart. */
const plain = (field) => field.normalize("NFD").replace(/\p{M}/gu, "").replace(/(\p{Ll})(\p{Lu})/gu, "$1_$2");
const isPrice = (field, type) => isNumber(type) && PRICE_NAME.test(plain(field));

function asItem(node) {
  const item = make("span", "", "item");
  item.append(node);
  return item;
}

function valueNode(value, field, type, currency) {
  const address = webAddress(value);
  if (address) return anchor(address, addressText(address));
  if (typeof value === "boolean") return textNode(value ? "yes" : "no");
  if (isPrice(field, type)) return textNode(priceText(value, field, currency));
  if (isDate(type)) return dateNode(value);
  if (typeof value === "number" && type === "float") return textNode(String(Number(value.toPrecision(7)))); // 0.1 as 32 bits hold it
  return textNode(typeof value === "object" ? stringify(value) : String(value));
}

const textNode = (text) => document.createTextNode(text);

/** An address as people read it, without what all addresses have. */
function addressText({ host, pathname, search }) {
  const text = `${host.replace(/^www\./, "")}${pathname === "/" ? "" : pathname}${search}`;
  try {
    return decodeURI(text);
  } catch {
    return text; // it is no UTF-8
  }
}

/** A price with its currency, in the digits of the reader's language; without a currency, with two decimals. */
function priceText(value, field, currency) {
  const number = Number(value);
  if (!Number.isFinite(number)) return String(value);
  const code = currency ?? field.match(CURRENCY_END)?.[1];
  const decimals = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  if (/^[a-z]{3}$/i.test(code ?? "")) return number.toLocaleString(navigator.language, { style: "currency", currency: code.toUpperCase() });
  return number.toLocaleString(navigator.language, decimals);
}

/** A date or a time in words of the reader's language. What has no time zone is shown as it is written. */
function dateNode(value) {
  const [, day, time, zone] = String(value).match(/^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:?\d\d)?)?$/) ?? [];
  const moment = new Date(`${day}T${time ?? "00:00"}${zone ?? "Z"}`);
  if (!day || Number.isNaN(moment.valueOf())) return textNode(String(value));
  const clock = time && !/^00:00(?::00(?:\.0+)?)?$/.test(time) ? { timeStyle: "short" } : {};
  const node = make("time", new Intl.DateTimeFormat(navigator.language, { dateStyle: "long", ...clock, ...(!zone && { timeZone: "UTC" }) }).format(moment));
  node.dateTime = value;
  node.lang = navigator.language;
  return node;
}
