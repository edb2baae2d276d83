// Documents that are listed without a query: as results, but without what only a query gives them.

/** Makes of `hitNode` a function that shows a document without score and without «best match». */
export const browsed = (hitNode) => (hit, options) => {
  const item = hitNode({ ...hit, relevance: null }, options);
  item.querySelector(".hit").classList.remove("is-best");
  for (const part of ["score", "best"]) item.querySelector(`.${part}`).hidden = true;
  return item;
};
