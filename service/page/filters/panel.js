// What stands beside the results: the filters, and the map where the documents have places.

import { ask } from "../api.js";
import { stringify } from "../exact.js";
import { Columns } from "./columns.js";
import { Filters, overviewOf } from "./facets.js";
import { ResultMap } from "./map.js";
import { findingOf, question, restricted } from "../view.js";

const MAPPED = 100; // of the best results that are on the map
const PAUSE_MS = 250; // until the map asks for them: it follows once the list has come to rest

const $ = (id) => document.getElementById(id);
const generation = (index) => index.generation ?? index.id;

export class Panel {
  /** `refilter(filters)` is called with other filters than `current()`; `point` and `open` with the id of a document. */
  constructor({ current, refilter, point, open }) {
    this.columns = new Columns();
    this.known = ""; // the generation of the index whose columns these are
    this.counted = ""; // the filters, and the generation, whose documents are counted
    this.pause = 0;
    this.filters = new Filters($("facets"), (field, part) => refilter(changed(current(), field, part)));
    this.map = new ResultMap($("map"), { choose: (near) => refilter({ ...current(), near }), point, open });
    $("unfold-filters").onclick = () => this.unfold($("unfold-filters").ariaExpanded !== "true");
    $("fold-filters").onclick = () => (this.unfold(false), $("status").scrollIntoView({ block: "center" }));
  }

  /** Learns which columns the index has, and returns what GET /info says. */
  async learn(signal) {
    const info = await ask("info", { signal });
    const now = info.index ? generation(info.index) : "";
    if (now === this.known) return info;
    this.columns = new Columns(info.index?.metadata, info.page ?? {});
    this.known = now;
    this.built = false;
    this.useful = Boolean(this.columns.place || this.columns.overview.length);
    document.body.classList.toggle("has-panel", this.useful);
    return info;
  }

  /** Shows a view's filters in the controls, before they are answered. */
  show({ filters }) {
    const number = restricted(filters);
    $("unfold-filters").textContent = number ? `Filters (${number})` : "Filters";
    this.filters.show(filters);
    this.map.setArea(filters.near);
  }

  /** Follows an answer: builds the filters for a new index, counts the documents of each value, puts results on the map. */
  async follow(view, index, hits, signal) {
    clearTimeout(this.pause);
    const used = Boolean(index);
    try {
      if (used && generation(index) !== this.known) await this.learn(signal);
      $("panel").hidden = $("unfold-filters").hidden = !used || !this.useful;
      if (!used || !this.useful) return;
      if (!this.built) await this.build(signal);
      this.filters.show(view.filters);
      const found = view.similar || !view.q ? {} : { ...findingOf(view), facets_over: "results" };
      const counted = stringify([this.known, view.filters, found]);
      if (counted !== this.counted) await this.filters.count(found, view.filters, signal);
      this.counted = counted;
      if (this.columns.place) this.place(view, hits, signal);
    } catch (problem) {
      if (problem instanceof Error) throw problem;
      this.counted = ""; // the results are there; what stands beside them is asked for with the next answer
    }
  }

  async build(signal) {
    const overview = await overviewOf(this.columns, signal);
    if (signal.aborted) return;
    this.filters.build(this.columns, overview);
    this.built = true;
    const { place } = this.columns;
    const [lat, lon] = place ? [overview.facets[place.latitude], overview.facets[place.longitude]] : [];
    const mapped = [lat?.min, lat?.max, lon?.min, lon?.max].every(Number.isFinite);
    $("map").hidden = !mapped;
    if (mapped) this.map.setHome([{ lat: lat.min, lon: lon.min }, { lat: lat.max, lon: lon.max }]);
  }

  /** Puts the results on the map: those of the list at once, the best hundred a little later. */
  place(view, hits, signal) {
    const shown = this.placesOf(hits, true);
    const ids = new Set(shown.map(({ id }) => id));
    this.map.setPlaces(shown);
    this.pause = setTimeout(async () => {
      const [path, body] = question(view, this.columns, MAPPED, 0);
      const slim = { ...body, fields: Object.values(this.columns.place) };
      const { results } = await ask(path, { body: slim, signal }).catch(() => ({ results: [] }));
      if (signal.aborted) return;
      const further = this.placesOf(results, false).filter(({ id }) => !ids.has(id));
      this.map.setPlaces([...shown, ...further]);
    }, PAUSE_MS);
  }

  placesOf(hits, shown) {
    const { latitude, longitude } = this.columns.place;
    const places = hits.map(({ id, title, rank, metadata }) => ({ id, name: title ?? id, rank, shown, lat: metadata[latitude], lon: metadata[longitude] }));
    return places.filter(({ lat, lon }) => Number.isFinite(lat) && Number.isFinite(lon));
  }

  /** Takes the filters away where nothing answers; the next answer brings them back. */
  hide() {
    clearTimeout(this.pause);
    $("panel").hidden = $("unfold-filters").hidden = true;
  }

  /** On a narrow screen the panel is folded until it is asked for. */
  unfold(open) {
    $("unfold-filters").ariaExpanded = String(open);
    $("panel").classList.toggle("is-unfolded", open);
  }
}

/** Filters with another restriction of one field: { choices: [value] } or { bounds: … }, null for none. */
function changed(filters, field, part) {
  const next = structuredClone(filters);
  for (const [name, value] of Object.entries(part)) {
    if (value === null) delete next[name][field];
    else next[name][field] = value;
  }
  return next;
}
