// Places on the earth and on a screen: Mercator's projection, in which a small circle stays a circle. Nothing here
// touches the document.

const RADIUS = 6371.0088; // kilometres; the earth as a ball, as the API's `within` has it
const STEEPEST = 85.05; // degrees of latitude at which the projected world is a square
const CLOSEST = 2 ** 20; // pixels of the world's width at most, times a screen's
const NICE = [1, 2, 5, 10, 20, 30, 45, 90];

const radians = (degrees) => (degrees * Math.PI) / 180;
const degrees = (angle) => (angle * 180) / Math.PI;
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** Longitude and latitude as x and y from 0 to 1, north up. */
export function project({ lat, lon }) {
  const steep = radians(clamp(lat, -STEEPEST, STEEPEST));
  return { x: (lon + 180) / 360, y: 0.5 - Math.asinh(Math.tan(steep)) / (2 * Math.PI) };
}

export function unproject({ x, y }) {
  return { lat: degrees(Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI))), lon: x * 360 - 180 };
}

/** What a screen of width × height shows: its middle (projected), and how many pixels wide the world would be. */
export class Camera {
  constructor(width, height) {
    Object.assign(this, { width, height, x: 0.5, y: 0.5, scale: width });
  }

  /** Shows these places, with some room around them. */
  fit(places, room = 0.12) {
    if (!places.length) return;
    const points = places.map(project);
    const [left, right] = [Math.min(...points.map(({ x }) => x)), Math.max(...points.map(({ x }) => x))];
    const [top, bottom] = [Math.min(...points.map(({ y }) => y)), Math.max(...points.map(({ y }) => y))];
    const usable = 1 - 2 * room;
    const fits = Math.min((usable * this.width) / Math.max(right - left, 1e-9), (usable * this.height) / Math.max(bottom - top, 1e-9));
    Object.assign(this, { x: (left + right) / 2, y: (top + bottom) / 2 });
    this.zoomTo(Math.min(fits, 2 ** 14 * this.width));
  }

  /** Shows a circle whole, as wide as the circle that `circle` gives back. */
  fitCircle({ lat, lon, km }) {
    Object.assign(this, project({ lat, lon }));
    this.zoomTo(this.reach / (km / this.kmOfWorld(lat)));
  }

  zoomTo(scale) {
    this.scale = clamp(scale, Math.min(this.width, this.height) * 0.8, CLOSEST * this.width);
    this.x = clamp(this.x, 0, 1);
    this.y = clamp(this.y, 0, 1);
  }

  /** Zooms by a factor; the place under a pixel stays where it is. */
  zoom(factor, at = { x: this.width / 2, y: this.height / 2 }) {
    const before = this.world(at);
    this.zoomTo(this.scale * factor);
    const after = this.world(at);
    this.pan((after.x - before.x) * this.scale, (after.y - before.y) * this.scale);
  }

  /** Moves what is shown by pixels. */
  pan(right, down) {
    this.x -= right / this.scale;
    this.y -= down / this.scale;
    this.zoomTo(this.scale);
  }

  /** The pixel of a place. */
  pixel(place) {
    const { x, y } = project(place);
    return { x: (x - this.x) * this.scale + this.width / 2, y: (y - this.y) * this.scale + this.height / 2 };
  }

  world({ x, y }) {
    return { x: this.x + (x - this.width / 2) / this.scale, y: this.y + (y - this.height / 2) / this.scale };
  }

  /** Pixels from the middle to the edge of the circle that can be searched. */
  get reach() {
    return Math.min(this.width, this.height) * 0.44;
  }

  /** How many kilometres the world is wide at a latitude. */
  kmOfWorld(lat) {
    return 2 * Math.PI * RADIUS * Math.cos(radians(lat));
  }

  /** The circle in the middle of the screen, rounded to what matters. */
  get circle() {
    const { lat, lon } = unproject(this);
    const km = (this.reach / this.scale) * this.kmOfWorld(lat);
    return { lat: Number(lat.toFixed(5)), lon: Number(lon.toFixed(5)), km: Number(Math.min(km, 20_000).toPrecision(3)) };
  }

  /** The radius in pixels of a circle on the earth. */
  radius({ lat, km }) {
    return (km / this.kmOfWorld(lat)) * this.scale;
  }

  /** Meridians and parallels a readable distance apart: { meridians: [{ x, label }], parallels: [{ y, label }] }. */
  graticule() {
    const [corner, other] = [this.world({ x: 0, y: 0 }), this.world({ x: this.width, y: this.height })].map(unproject);
    const step = stepOf(((other.lon - corner.lon) / this.width) * 60);
    const lines = (low, high) => {
      const first = Math.ceil(low / step);
      return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, i) => (first + i) * step);
    };
    const meridians = lines(Math.max(corner.lon, -180), Math.min(other.lon, 180));
    const parallels = lines(Math.max(other.lat, -STEEPEST), Math.min(corner.lat, STEEPEST));
    return {
      meridians: meridians.map((lon) => ({ x: this.pixel({ lat: 0, lon }).x, label: degreeText(lon, step, "E", "W") })),
      parallels: parallels.map((lat) => ({ y: this.pixel({ lat, lon: 0 }).y, label: degreeText(lat, step, "N", "S") })),
    };
  }

  /** A round distance and its length: { km, pixels }. */
  ruler() {
    const kmOfPixel = this.kmOfWorld(unproject(this).lat) / this.scale;
    const km = [5, 2, 1].map((factor) => factor * 10 ** Math.floor(Math.log10(kmOfPixel * 80))).find((each) => each <= kmOfPixel * 80);
    return { km, pixels: km / kmOfPixel };
  }
}

/** The nearest step above, in degrees, that people count in. */
function stepOf(width) {
  if (width > NICE[0]) return NICE.find((step) => step >= width) ?? 90;
  const power = 10 ** Math.floor(Math.log10(width));
  return [1, 2, 5, 10].find((factor) => factor * power >= width) * power;
}

function degreeText(value, step, positive, negative) {
  const places = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  return `${Math.abs(value).toFixed(places)}°${Number(value.toFixed(places)) === 0 ? "" : value > 0 ? positive : negative}`;
}
