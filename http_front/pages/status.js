// The page that shows what the service does.

import { Chart, SPAN_S } from "./chart.js";
import { byId, el, say } from "./dom.js";
import { shortName, showState, watchStatus } from "./service.js";
import { bytes, duration, milliseconds, number, percent, some } from "./words.js";

const CHARTS = [
  new Chart("Pairs per second", (sample) => sample.pairs, (value) => number(value, 1)),
  new Chart("Device busy", (sample) => sample.device, percent, 1),
  new Chart("Pairs waiting", (sample) => sample.queued, (value) => number(value)),
  new Chart("Time in the queue", (sample) => sample.queue_ms, milliseconds),
  new Chart("Callers per batch", (sample) => sample.batch_callers, (value) => number(value, 1)),
  new Chart("Padding", (sample) => sample.padding, percent, 1),
];
/** Why workers were lost, in words. */
const LOSSES = {
  silent: "silent for too long",
  stalled: "device stood still",
  unreachable: "out of reach",
  disconnected: "process ended",
  replaced: "replaced by another",
  fault: "device failed",
};
const PROCESSES = { broker: "broker", worker: "worker", http: "HTTP front" };

let samples = [];
let now = 0;
let ago = null;

function take(name, data) {
  showState(name, data);
  if (name === "history") {
    samples = data;
  } else if (name === "status") {
    now = data.at;
    if (data.sample) samples.push(data.sample);
    samples = samples.filter((sample) => now - sample.at <= SPAN_S);
    showStatus(data);
  } else {
    document.body.classList.add("stale");
    say(byId("headline"), "No connection");
    say(byId("reason"), `${data} Trying again.`);
  }
  drawCharts();
}

function drawCharts() {
  for (const chart of CHARTS) chart.draw(samples, now, ago);
}

function showStatus(status) {
  const known = status.worker !== undefined; // else there is no broker, and what was last seen stays
  document.body.classList.toggle("stale", !known);
  const compiling = /compiling (\d+)\/(\d+)/.exec(status.ready ? status.worker.details.compile : status.reason);
  say(byId("headline"), status.ready ? "Ready" : "Not ready");
  say(byId("reason"), words(status, compiling));
  const progress = byId("progress");
  progress.hidden = compiling === null;
  if (compiling) [progress.value, progress.max] = [Number(compiling[1]) - 1, Number(compiling[2])];
  document.title = `${status.ready ? "Ready" : "Not ready"} · openvino-reranker`;
  showProcesses(status.processes);
  if (!known) return;
  showFacts(status);
  showCallers(status.callers);
  showCounts(status);
  showDetails(status.worker.details);
}

function words(status, compiling) {
  if (!status.ready) return `${status.reason}.`;
  const bucket = compiling ? ` Compiling bucket ${compiling[1]} of ${compiling[2]}; it gets faster with each.` : "";
  return `${status.worker.model} on ${status.worker.device}, ${status.worker.precision}.${bucket}`;
}

const terms = (rows) => rows.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));

function showFacts({ worker, queue, limits, uptime_s: uptime, version, score_cache: cache }) {
  const rate = worker.tokens_per_second === null ? "not measured yet" : `${number(worker.tokens_per_second)} tokens/s`;
  byId("facts").replaceChildren(...terms([
    ["Worker", worker.state],
    ["Model", worker.model === null ? "none" : shortName(worker.model)],
    ["Longest pair", worker.max_length === null ? "–" : `${worker.max_length} tokens`],
    ["Device’s rate", rate],
    ["Score cache", `${some(cache.entries, "score")}, ${bytes(cache.bytes)}`],
    ["Up", duration(uptime)],
    ["Version", version],
    ["Queue", `${some(queue.requests, "request")}; ${some(queue.pairs, "pair")} of ${some(queue.callers, "caller")} waiting (${number((100 * queue.pairs) / limits.queued_pairs, 1)}% of the bound)`],
  ]));
}

function showCallers(callers) {
  const rows = callers.map((caller) => {
    const bar = el("div", { class: "bar", "aria-hidden": "true" }, el("i"));
    bar.firstChild.style.width = percent(caller.share);
    return el("tr", {},
      el("th", { scope: "row" }, ...callerName(caller)),
      el("td", { class: "wide" }, el("span", {}, percent(caller.share)), bar),
      el("td", {}, number(caller.pairs)));
  });
  const none = el("tr", {}, el("td", { colspan: 3, class: "none" }, "No recent requests."));
  byId("callers").tBodies[0].replaceChildren(...(rows.length ? rows : [none]));
}

/** A caller as the broker names it: uid:pid for a process, else in words. */
function callerName({ name, program }) {
  const process = /^(\d+):(\d+)$/.exec(name);
  if (!process) return [name];
  return [program ?? "a process", el("span", { class: "hint" }, ` pid ${process[2]}, user ${process[1]}`)];
}

function showProcesses(processes) {
  byId("processes").tBodies[0].replaceChildren(...Object.entries(PROCESSES).map(([name, title]) => {
    const process = processes[name];
    return el("tr", {},
      el("th", { scope: "row" }, title),
      el("td", {}, process?.pid ? String(process.pid) : "–"),
      el("td", {}, process?.bytes ? bytes(process.bytes) : "–"));
  }));
}

function showCounts({ counters, worker }) {
  const share = (part, whole) => (part ? `${number(part)} (${percent(part / whole)})` : number(part));
  byId("served").replaceChildren(...terms([
    ["Requests", number(counters.requests)],
    ["Answered with scores", number(counters.answered)],
    ["Pairs", number(counters.pairs)],
    ["from the score cache", share(counters.cached_pairs, counters.pairs)],
    ["computed with an identical one", share(counters.joined_pairs, counters.pairs)],
    ["cut: their end was not read", share(counters.truncated_pairs, counters.pairs)],
    ["Further windows of long documents", number(counters.window_pairs)],
    ["Batches", `${number(counters.batches)}; ${number(counters.pairs_per_batch, 1)} pairs, ${number(counters.callers_per_batch, 1)} callers each`],
  ]));
  byId("errors").replaceChildren(...terms([
    ["Refused: invalid", number(counters.refused_invalid)],
    ["Refused: queue full", number(counters.refused_overloaded)],
    ["Refused: not serving", number(counters.refused_unavailable)],
    ["Expired", number(counters.expired_requests)],
    ["Failed", number(counters.failed_requests)],
    ["Abandoned at a stop or a change of model", number(counters.abandoned_requests)],
    ["Cancelled by their callers", number(counters.cancelled_requests)],
    ["Pairs run again", number(counters.retried_pairs)],
    ["Workers lost", number(counters.worker_losses)],
    ...Object.entries(worker.losses).map(([kind, count]) => [LOSSES[kind] ?? kind, number(count)]),
  ]));
  for (const list of [byId("served"), byId("errors")]) {
    for (const row of list.children) {
      const [term, value] = row.children;
      row.classList.toggle("part", /^[a-z]/.test(term.textContent));
      row.classList.toggle("zero", value.textContent === "0");
    }
  }
}

function showDetails(details) {
  byId("details").hidden = Object.keys(details).length === 0;
  say(byId("details").querySelector("pre"), JSON.stringify(details, null, 2));
}

// Pointing at one chart shows that time in all of them.
byId("charts").append(...CHARTS.map((chart) => chart.element));
byId("charts").addEventListener("pointermove", (event) => {
  const picture = event.target.closest("svg");
  const box = picture?.getBoundingClientRect();
  ago = picture ? Math.max(0, SPAN_S * (1 - (event.clientX - box.left) / box.width)) : null;
  drawCharts();
});
byId("charts").addEventListener("pointerleave", () => {
  ago = null;
  drawCharts();
});

drawCharts();
watchStatus(take);
