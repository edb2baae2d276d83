// What the API documentation lacks: Swagger UI has dark colours and takes them where its root has a class, and it shows
// answers by way of JSON.parse and JSON.stringify, which round whole numbers beyond 2^53.

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// Where a browser can keep a number as it was written, such a number is kept. Swagger UI has no place of its own for this.
if ("rawJSON" in JSON) {
  const parse = JSON.parse;
  const isRounded = (value, source) => typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source);
  const exact = (_, value, { source }) => (isRounded(value, source) ? JSON.rawJSON(source) : value);
  JSON.parse = (text, reviver) => parse(text, reviver ?? (/\d{16}/.test(text) ? exact : undefined));
}
