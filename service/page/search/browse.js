// Documents in another order than that of their scores: none of them is the best match, and without a query none has a score.

/** Makes of `hitNode` a function that shows a document without «best match» and, unless it is `scored`, without a score. */
export const listed = (hitNode, { scored }) => (hit, options) => {
  const item = hitNode(hit, options);
  item.querySelector(".hit").classList.remove("is-best");
  item.querySelector(".best").hidden = true;
  item.querySelector(".score").hidden = !scored;
  return item;
};
