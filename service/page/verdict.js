// What training has brought, in words that need no knowledge of the measure: nDCG@10 becomes points of a hundred.

const points = (ndcg) => (100 * ndcg).toFixed(1);

/** Of 100 points for having the right documents first: with the model that training started from, and after it. */
function figures({ dense, hybrid, judged_by: judgedBy }) {
  const gains = [["with meaning and words", hybrid], ["by meaning alone", dense]].filter(([, gain]) => gain);
  if (!gains.length) return "";
  const told = gains.map(([leg, { base, tuned }], i) => `${points(base)} → ${points(tuned)} ${i ? "" : "of 100 points "}${leg}`).join(", ");
  const asked = judgedBy === "labels" ? "questions that people had answered" : "questions made from the documents";
  return `${told} (nDCG@10, ${asked} and kept out of the training)`;
}

const OUTCOMES = {
  WIN: "Right answers stand higher than with the model it started from",
  TIE: "No reliable difference to the model it started from",
  LOSS: "Right answers stand lower than with the model it started from",
};

/** The verdict of a model of GET /info or GET /status.json as a sentence. */
export function verdictText(model) {
  const tuned = model.tuned ?? Boolean(model.tuned_from);
  if (!tuned) return "Not trained on these documents";
  const outcome = OUTCOMES[model.verdict];
  const measured = figures(model);
  return [`Trained on these documents`, outcome && `. ${outcome}`, outcome && measured && `: ${measured}`].filter(Boolean).join("");
}
