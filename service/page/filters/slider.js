// A slider with two handles over the steps of a number column, with a histogram of its documents behind them. The
// handles are two range inputs, so that a keyboard and a screen reader know them.

import { make } from "../nodes.js";

/** @param {{ label: string, edges: (number|bigint)[], whole: boolean, min: number|bigint, max: number|bigint }} column its steps are [edge, next edge)
 *  @param {(bounds: { gte?: number, lte?: number } | null) => void} changed called once a choice is made */
export function slider({ label, edges, whole, min, max }, changed) {
  const last = edges.length - 1;
  const node = make("div", "", "slider");
  const said = make("p", "", "range");
  const bars = make("div", "", "bars-up");
  const track = make("div", "", "track");
  const ends = ["at least", "at most"].map((end, i) => handle(`${label}, ${end}`, last, i * last));
  const [low, high] = ends;
  bars.append(...edges.slice(1).map(() => make("i")));
  bars.ariaHidden = "true";
  track.append(make("span"), low, high);
  node.append(bars, track, said);

  const text = (value) => value.toLocaleString("en", { maximumFractionDigits: 6, useGrouping: value >= 10_000 });
  const from = () => text(min > edges[low.value] ? min : edges[low.value]);
  const most = (edge) => (whole ? before(edges[edge]) : edges[edge]); // the largest value below an edge
  const to = () => text(max < most(high.value) ? max : most(high.value));

  function draw() {
    said.textContent = from() === to() ? from() : `${from()} – ${to()}`;
    low.ariaValueText = from();
    high.ariaValueText = to();
    node.style.setProperty("--low", low.value / last);
    node.style.setProperty("--high", high.value / last);
    [...bars.children].forEach((bar, i) => bar.classList.toggle("is-in", i >= low.value && i < high.value));
    // Where both lie at the right end, only the lower one can still be moved, so it has to lie above.
    low.classList.toggle("is-above", low.value > last / 2);
  }

  low.oninput = () => (low.value = Math.min(low.value, high.value - 1), draw());
  high.oninput = () => (high.value = Math.max(high.value, Number(low.value) + 1), draw());
  const choose = () => {
    const bounds = { ...(low.value > 0 && { gte: edges[low.value] }), ...(high.value < last && { lte: most(high.value) }) };
    changed(Object.keys(bounds).length ? bounds : null);
  };
  ends.forEach((end) => (end.onchange = choose));

  return {
    node,
    /** Shows bounds that were chosen elsewhere: by a link, or by taking a filter back. */
    set({ gte, lte } = {}) {
      const [first, end] = [edges.findLastIndex((edge) => edge <= gte), edges.findIndex((_, edge) => most(edge) >= lte)];
      low.value = Math.max(0, Math.min(first, last - 1));
      high.value = lte === undefined || end < 0 ? last : Math.max(end, Number(low.value) + 1);
      draw();
    },
    /** Draws how many documents there are in each step. */
    histogram(counts) {
      const highest = Math.max(...counts, 1);
      [...bars.children].forEach((bar, i) => (bar.style.blockSize = counts[i] ? `${Math.max(6, (100 * counts[i]) / highest)}%` : "0"));
    },
  };
}

/** The whole number before another, also where a double cannot tell the two apart. */
const before = (edge) => (Number.isSafeInteger(edge) ? edge - 1 : BigInt(edge) - 1n);

function handle(label, last, value) {
  const node = make("input");
  Object.assign(node, { type: "range", min: 0, max: last, step: 1, value, ariaLabel: label });
  return node;
}
