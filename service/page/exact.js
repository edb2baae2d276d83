// JSON with whole numbers of any length. JSON.parse makes every number a double, which rounds beyond 2^53; here such a whole
// number becomes a BigInt, and is written with all its digits again.

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const WHOLE = /^-?\d+$/;
const LONG = /\d{16}/; // fewer digits are exact

/** A text that is a whole number, as a number where that is exact, else as a BigInt; any other text as a number. */
export function numberOf(text) {
  const number = Number(text);
  return Number.isSafeInteger(number) || !WHOLE.test(text) ? number : BigInt(text);
}

/** What JSON.parse returns, with BigInts for the whole numbers that a double cannot hold. */
export function parse(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  const mark = markNotIn(text);
  const isMarked = (value) => typeof value === "string" && value.startsWith(mark) && WHOLE.test(value.slice(mark.length));
  const marked = text.replace(TOKEN, (token) => (typeof numberOfToken(token) === "bigint" ? `"${mark}${token}"` : token));
  return JSON.parse(marked, (_, value) => (isMarked(value) ? BigInt(value.slice(mark.length)) : value));
}

/** What JSON.stringify returns, with all digits of BigInts. */
export function stringify(value) {
  const plain = JSON.stringify(value, (_, each) => (typeof each === "bigint" ? "" : each)) ?? "";
  const mark = markNotIn(plain);
  return JSON.stringify(value, (_, each) => (typeof each === "bigint" ? `${mark}${each}` : each))?.replace(new RegExp(`"${mark}(-?\\d+)"`, "g"), "$1");
}

const numberOfToken = (token) => (token.startsWith('"') ? null : numberOf(token));

/** A text that the strings of the JSON do not have, also none that is escaped. */
function markNotIn(text) {
  let number = 0;
  while (text.includes(`whole number ${number} `)) number += 1;
  return `whole number ${number} `;
}
