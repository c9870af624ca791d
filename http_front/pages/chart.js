// A small chart of the last minutes, with the value of now above it.

import { el, say, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 56];
/** What a chart spans, s. */
export const SPAN_S = 300;
/** Samples with a shorter pause between them belong together, s. */
const PAUSE_S = 0.5;

/**
 * One figure over time.
 *
 * @param title what it is
 * @param read takes it out of a sample; null where there is none
 * @param format words it
 * @param top the highest value there can be, if there is one
 */
export class Chart {
  constructor(title, read, format, top) {
    Object.assign(this, { title, read, format, top });
    this.value = el("p", { class: "value" }, "–");
    this.range = el("p", { class: "hint" }, "\u00a0");
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.cursor = svg("path", { class: "cursor" });
    const picture = { viewBox: `0 -2 ${WIDTH} ${HEIGHT + 2}`, preserveAspectRatio: "none", role: "img", "aria-label": title };
    this.picture = svg("svg", picture, this.area, this.line, this.cursor);
    this.element = el("article", { class: "chart" }, el("h3", {}, title), this.value, this.picture, this.range);
  }

  /** Draw the samples up to `now`; `ago` is what is pointed at, s before now, or null. */
  draw(samples, now, ago) {
    const stretches = this.stretches(samples);
    const highest = Math.max(0, ...stretches.flat().map(([, value]) => value));
    const top = this.top ?? (highest || 1);
    const x = (at) => (WIDTH * (1 - (now - at) / SPAN_S)).toFixed(1);
    const y = (value) => (HEIGHT * (1 - value / top)).toFixed(1);
    const lines = stretches.map((points) => `M${points.map(([at, value]) => `${x(at)} ${y(value)}`).join("L")}`);
    const areas = stretches.map((points, place) => `${lines[place]}V${HEIGHT}H${x(points[0][0])}Z`);
    this.line.setAttribute("d", lines.join(""));
    this.area.setAttribute("d", areas.join(""));
    this.cursor.setAttribute("d", ago === null ? "" : `M${x(now - ago)} 0V${HEIGHT}`);
    this.tell(samples, now, ago, stretches.length ? `highest ${this.format(highest)}` : "nothing in this time");
  }

  /** Lists of [at, value] that belong together; a value holds for the time since the sample before. */
  stretches(samples) {
    const stretches = [];
    let end = -Infinity;
    for (const sample of samples) {
      const value = this.read(sample);
      if (value === null) continue;
      const begin = sample.at - sample.seconds;
      if (begin - end > PAUSE_S) stretches.push([]);
      if (begin - end > PAUSE_S || sample.seconds > 2) stretches.at(-1).push([begin, value]);
      stretches.at(-1).push([sample.at, value]);
      end = sample.at;
    }
    return stretches;
  }

  tell(samples, now, ago, range) {
    const at = now - (ago ?? 0);
    const sample = samples.findLast((each) => each.at - each.seconds < at && at < each.at + PAUSE_S);
    const value = sample === undefined ? null : this.read(sample);
    const words = value === null ? "–" : this.format(value);
    say(this.value, words);
    say(this.range, ago === null ? range : `${Math.round(ago)} s ago`);
    this.picture.setAttribute("aria-label", `${this.title}: ${value === null ? "nothing" : words} now, ${range}`);
  }
}
