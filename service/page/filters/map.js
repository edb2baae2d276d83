// A map of the results: points in Mercator's projection over a graticule, drawn as SVG. There are no tiles, since the
// page loads nothing from elsewhere. Dragging, the wheel, two fingers, arrows, + and − move it; the circle in its middle
// becomes a filter.

import { Camera } from "./geo.js";

const SVG = "http://www.w3.org/2000/svg";
const NUDGE = 40; // pixels that an arrow key moves
const ZOOM = 1.6;

/** `choose` is called with the circle to search, null for everywhere; `point` with the id of the document that the mouse
 *  is on, null for none; `open` with the id of one that was pressed. */
export class ResultMap {
  constructor(root, { choose, point, open }) {
    this.area = null; // the circle that is searched
    this.places = []; // [{ id, name, lat, lon, rank }]
    this.home = []; // two corners of all documents
    this.moved = false;
    this.marked = null; // the document that the list is at
    this.root = root;
    this.svg = root.querySelector("svg");
    this.stage = root.querySelector(".stage");
    this.button = root.querySelector(".here");
    this.camera = new Camera(300, 220);
    Object.assign(this, { choose, point, open });
    root.querySelector(".closer").onclick = () => this.move(() => this.camera.zoom(ZOOM));
    root.querySelector(".farther").onclick = () => this.move(() => this.camera.zoom(1 / ZOOM));
    root.querySelector(".whole").onclick = () => this.goHome();
    this.button.onclick = () => choose(this.area && !this.moved ? null : this.camera.circle);
    this.stage.onkeydown = (event) => this.onKey(event);
    this.stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.listenToPointers();
    new ResizeObserver(() => this.resize()).observe(this.stage);
  }

  /** Shows the corners of all documents, unless an area is searched. */
  setHome(corners) {
    this.home = corners;
    if (!this.area) this.goHome();
  }

  /** Shows the area that is searched, null for none, as the view says. */
  setArea(area) {
    const changed = JSON.stringify(area) !== JSON.stringify(this.area);
    this.area = area;
    if (changed && area && JSON.stringify(area) !== JSON.stringify(this.camera.circle)) this.camera.fitCircle(area);
    if (changed) this.moved = false;
    this.draw();
  }

  setPlaces(places) {
    this.places = places;
    this.draw();
  }

  /** Shows which document the list is at. */
  mark(id) {
    this.marked = id;
    for (const dot of this.svg.querySelectorAll(".dot")) dot.classList.toggle("is-marked", dot.dataset.id === id);
  }

  goHome() {
    this.moved = Boolean(this.area);
    this.camera.fit(this.home);
    this.draw();
  }

  move(change) {
    change();
    this.moved = true;
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || (width === this.camera.width && height === this.camera.height)) return;
    const { x, y, scale, width: before } = this.camera;
    this.camera = new Camera(width, height);
    if (this.moved) Object.assign(this.camera, { x, y, scale: (scale * width) / before });
    else if (this.area) this.camera.fitCircle(this.area);
    else this.camera.fit(this.home);
    this.draw();
  }

  draw() {
    const { camera } = this;
    const { width, height } = camera;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { meridians, parallels } = camera.graticule();
    const lines = [
      ...meridians.map(({ x }) => shape("line", "grid", { x1: x, x2: x, y1: 0, y2: height })),
      ...parallels.map(({ y }) => shape("line", "grid", { x1: 0, x2: width, y1: y, y2: y })),
      ...meridians.filter(({ x }) => x > 48 && x < width - 24).map(({ x, label }) => text(label, { x, y: height - 6, "text-anchor": "middle" })),
      ...parallels.filter(({ y }) => y > 12 && y < height - 24).map(({ y, label }) => text(label, { x: 6, y: y - 4 })),
    ];
    const circles = [];
    if (this.area) circles.push(this.circleShape(this.area, "area"));
    if (!this.area || this.moved) circles.push(shape("circle", "aim", { cx: width / 2, cy: height / 2, r: camera.reach }));
    const dots = [...this.places].reverse().map((place) => this.dot(place)); // the best lies on top
    this.svg.replaceChildren(...lines, ...circles, ...dots);
    this.mark(this.marked);
    this.root.classList.toggle("has-moved", this.moved);
    this.button.textContent = this.area && !this.moved ? "Search everywhere" : "Search in the circle";
    const { km, pixels } = camera.ruler();
    const ruler = this.root.querySelector(".ruler");
    ruler.style.inlineSize = `${pixels}px`;
    ruler.textContent = km < 1 ? `${Math.round(km * 1000)} m` : `${km.toLocaleString("en")} km`;
  }

  dot(place) {
    const { x, y } = this.camera.pixel(place);
    const node = shape("circle", `dot${place.shown ? " is-shown" : ""}${place.rank === 1 ? " is-first" : ""}`, { cx: x, cy: y, r: place.shown ? 5.5 : 3 });
    node.dataset.id = place.id;
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${place.rank}. ${place.name}`;
    node.append(title);
    node.onpointerenter = () => this.point(place.id);
    node.onpointerleave = () => this.point(null);
    return node;
  }

  circleShape(circle, className) {
    const { x, y } = this.camera.pixel(circle);
    return shape("circle", className, { cx: x, cy: y, r: this.camera.radius(circle) });
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { camera } = this;
    const action = {
      ArrowLeft: () => camera.pan(NUDGE, 0),
      ArrowRight: () => camera.pan(-NUDGE, 0),
      ArrowUp: () => camera.pan(0, NUDGE),
      ArrowDown: () => camera.pan(0, -NUDGE),
      "+": () => camera.zoom(ZOOM),
      "=": () => camera.zoom(ZOOM),
      "-": () => camera.zoom(1 / ZOOM),
    }[event.key];
    if (event.key === "Enter") this.button.click();
    else if (action) this.move(action);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page's own arrows walk through the results
  }

  onWheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.stage) return; // the page scrolls on, until the map was chosen
    event.preventDefault();
    const at = { x: event.offsetX, y: event.offsetY };
    this.move(() => this.camera.zoom(Math.exp(-Math.max(-80, Math.min(80, event.deltaY)) / 200), at));
  }

  /** One pointer drags; two, which are fingers, zoom as well. A press that does not move opens the document below it. */
  listenToPointers() {
    const { stage } = this;
    const down = new Map();
    let pressed = null;
    const middle = () => {
      const all = [...down.values()];
      const x = all.reduce((sum, each) => sum + each.x, 0) / all.length;
      const y = all.reduce((sum, each) => sum + each.y, 0) / all.length;
      return { x, y, spread: all.length > 1 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 0 };
    };
    const placed = ({ clientX, clientY }) => {
      const box = stage.getBoundingClientRect();
      return { x: clientX - box.left, y: clientY - box.top };
    };
    stage.onpointerdown = (event) => {
      stage.setPointerCapture(event.pointerId);
      pressed = event.target.dataset?.id ?? null;
      down.set(event.pointerId, placed(event));
    };
    stage.onpointermove = (event) => {
      if (!down.has(event.pointerId)) return;
      const before = middle();
      down.set(event.pointerId, placed(event));
      const after = middle();
      if (before.x === after.x && before.y === after.y && before.spread === after.spread) return;
      pressed = null;
      this.move(() => {
        this.camera.pan(after.x - before.x, after.y - before.y);
        if (before.spread) this.camera.zoom(after.spread / before.spread, after);
      });
    };
    stage.onpointerup = stage.onpointercancel = (event) => {
      down.delete(event.pointerId);
      if (event.type === "pointerup" && pressed !== null) this.open(pressed);
    };
  }
}

function shape(tag, className, attributes) {
  const node = document.createElementNS(SVG, tag);
  node.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function text(label, attributes) {
  const node = shape("text", "degree", attributes);
  node.textContent = label;
  return node;
}
