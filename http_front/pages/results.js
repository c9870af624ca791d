// A ranking as the page shows it.

import { el } from "./dom.js";
import { textOf } from "./candidates.js";
import { logit, milliseconds, number, relevance } from "./words.js";

/** Text beyond so many characters is folded. */
const FOLDED = 420;

/** Return the items of the ranked list. */
export function rankedItems(documents, answer) {
  return answer.results.map((result, place) => {
    const document = documents[result.index];
    const bar = el("div", { class: "bar", "aria-hidden": "true" }, el("i"));
    bar.firstChild.style.width = `${100 * result.relevance_score}%`;
    return el("li", {},
      el("span", { class: "place", "aria-hidden": "true" }, String(place + 1)),
      movement(result.index - place, result.index + 1),
      el("div", { class: "passage" }, ...passage(textOf(document), result), bar, remarks(document, result)),
      el("p", { class: "scores" },
        el("b", { title: "Relevance, from 0 to 1" }, el("span", { class: "visually-hidden" }, "relevance "), relevance(result.relevance_score)),
        el("span", { title: "The model’s raw score; it compares candidates of one query" }, `logit ${logit(result.score)}`)),
    );
  });
}

/** How far a candidate moved from the place it was given in. */
function movement(places, given) {
  const [kind, sign, words] =
    places > 0 ? ["up", `▲\u2009${places}`, `up ${places} from place ${given}`]
    : places < 0 ? ["down", `▼\u2009${-places}`, `down ${-places} from place ${given}`]
    : ["same", "=", "where it was"];
  return el("span", { class: `moved ${kind}`, title: words },
    el("span", { "aria-hidden": "true" }, sign),
    el("span", { class: "visually-hidden" }, words));
}

/** The text, folded if it is long: around the window whose score it has, if it was read in several. */
function passage(text, result) {
  const [start, end] = [result.window.start, result.window.end].map((place) => unitsOf(text, place));
  const windowed = result.windows > 1;
  const whole = () => (windowed ? [text.slice(0, start), el("mark", {}, text.slice(start, end)), text.slice(end)] : [text]);
  const content = el("p", { class: "text" });
  if (text.length <= FOLDED) {
    content.append(...(text ? whole() : [el("i", {}, "(empty)")]));
    return [content];
  }
  const from = windowed ? start : 0;
  const shown = text.slice(from, cutAt(text, from + FOLDED));
  const folded = () => [from ? "… " : "", windowed ? el("mark", {}, shown) : shown, " …"];
  const toggle = el("button", { type: "button", class: "quiet", "aria-expanded": "false" }, "Show all");
  toggle.addEventListener("click", () => {
    const open = toggle.getAttribute("aria-expanded") === "false";
    toggle.setAttribute("aria-expanded", String(open));
    toggle.textContent = open ? "Show less" : "Show all";
    content.replaceChildren(...(open ? whole() : folded()));
  });
  content.append(...folded());
  return [content, toggle];
}

function remarks(document, result) {
  const words = [
    document.id !== undefined && [`id ${document.id}`],
    result.windows > 1 && [`best of ${result.windows} windows`, "It is longer than the model reads at once; the marked part is the one whose score it has"],
    result.truncated && ["cut", "The model did not read its end"],
  ].filter(Boolean);
  if (!words.length) return null;
  return el("p", { class: "remarks" }, ...words.map(([word, title]) => el("span", { title }, word)));
}

/** What it took, as terms and descriptions. */
export function figures(answer, given) {
  const times = answer.timings_ms;
  const rows = [
    ["Total", milliseconds(times.total)],
    ["In the queue", milliseconds(times.queue)],
    ["On the device", milliseconds(times.inference)],
    ["Device", `${answer.device}, ${answer.precision}`],
    ["Tokens read", number(answer.usage.total_tokens)],
  ];
  if (answer.npu_busy_delta_us !== null) rows.push(["NPU busy", milliseconds(answer.npu_busy_delta_us / 1000)]);
  if (answer.cached) rows.push(["From cache", `${answer.cached} of ${given}`]);
  return rows.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
}

/** The place in JavaScript's UTF-16 units of a place in characters (code points). */
function unitsOf(text, characters) {
  let units = 0;
  for (let left = characters; left > 0 && units < text.length; left--) {
    units += text.codePointAt(units) > 0xffff ? 2 : 1;
  }
  return units;
}

/** A place to cut at: between words if one ends near, never inside a character. */
function cutAt(text, place) {
  if (place >= text.length) return text.length;
  const space = text.lastIndexOf(" ", place);
  if (place - space < 40) return space;
  return /[\udc00-\udfff]/.test(text[place]) ? place - 1 : place;
}
