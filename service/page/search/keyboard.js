// The keys of the search page: / to the box, arrows through the results, s or Enter for similar ones, o to open, Escape back.

const box = document.getElementById("q");

/** What the arrows go through. */
export const stops = () => [...document.querySelectorAll(".hit, #more:not([hidden])")];

/** `similar(place)` shows what is similar to the result in that place, `open(place)` follows its link; `clear` empties the
 *  search. */
export function listenToKeys({ similar, open, clear }) {
  addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || target.closest?.("dialog")) return;
    const inBox = target === box;
    const free = !target.closest?.("#panel") && target.type !== "radio" && !target.matches?.("select"); // whose arrows are their own
    const hit = target.closest?.(".hit");
    const likeThis = hit && (() => similar(stops().indexOf(hit)));
    const action = {
      "/": !target.matches?.("input") && toBox,
      ArrowDown: free && (() => move(1)),
      ArrowUp: free && !inBox && (() => move(-1)),
      s: likeThis,
      o: hit && (() => open(stops().indexOf(hit))),
      Enter: target === hit && likeThis,
      Escape: inBox ? clear : toBox,
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function move(step) {
  const all = stops();
  const at = all.indexOf(document.activeElement.closest(".hit, #more"));
  if (at + step < 0) box.focus();
  else all[Math.min(at + step, all.length - 1)]?.focus();
}

function toBox() {
  box.focus();
  box.select();
}
