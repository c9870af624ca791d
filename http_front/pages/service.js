// The service, as the page asks it: one request at a time, and one stream of its status while the page is seen.

import { byId, el, say } from "./dom.js";

const KEY = "openvino-reranker api key";
const PAUSE_MS = [1000, 2000, 5000];

/** What the service answered instead of what was asked for, in its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Whether a key is sent along. */
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, `Nothing answers at ${location.origin}. Is the service running?`);
  }
  if (answer.ok) return answer;
  if (answer.status === 401) askForKey();
  let message = `The service answered ${answer.status} ${answer.statusText}`;
  try {
    message = (await answer.json()).message ?? message;
  } catch {
    // not in the service's form: its status must do
  }
  throw new Refused(answer.status, message);
}

/** Rank; the answer is the service's JSON. */
export async function rerank(request, signal) {
  const headers = { "content-type": "application/json" };
  return (await ask("/v1/rerank", { method: "POST", headers, body: JSON.stringify(request), signal })).json();
}

/**
 * Watch the status for as long as this page can be seen: hidden tabs hold no connection, of which a browser has six.
 * `take` gets "history" with a list, "status" with a report, and "lost" with why there is none.
 */
export function watchStatus(take) {
  let stop = null;
  let failures = 0;

  async function run(controller) {
    while (!controller.signal.aborted) {
      try {
        const answer = await ask("/status/events", { signal: controller.signal });
        for await (const [name, data] of events(answer.body)) {
          failures = 0;
          take(name, data);
        }
        throw new Refused(0, "The connection to the service ended.");
      } catch (error) {
        if (controller.signal.aborted) return;
        take("lost", error.message);
        if (error.status === 401) return;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS[Math.min(failures++, PAUSE_MS.length - 1)]));
    }
  }

  function follow() {
    if (document.hidden) {
      stop?.abort();
      stop = null;
    } else if (stop === null) {
      stop = new AbortController();
      run(stop);
    }
  }

  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => stop?.abort());
  addEventListener("pageshow", (event) => {
    if (event.persisted) restart();
  });
  function restart() {
    stop?.abort();
    stop = null;
    follow();
  }
  onKey = restart;
  follow();
}

/** Yield the events of a stream: [name, data]. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (waiting + value).split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const fields = Object.fromEntries(part.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

let onKey = () => {};

function askForKey() {
  const form = byId("key");
  if (!form.hidden) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, byId("key-value").value.trim());
    form.hidden = true;
    onKey();
  }, { once: true });
  byId("key-value").focus();
}

/** Show in the page's head whether the service is ready. */
export function showState(name, data) {
  if (name === "history") return;
  const state = byId("state");
  const [kind, word, more] =
    name === "lost" ? ["away", "no connection", ""]
    : data.ready ? ["ready", "ready", `${shortName(data.worker.model)} on ${data.worker.device}`]
    : ["waiting", "not ready", ""];
  if (state.dataset.kind !== kind || state.dataset.more !== more) {
    state.dataset.kind = kind;
    state.dataset.more = more;
    state.replaceChildren(el("span", { class: "dot" }), el("b", {}, word), el("span", { class: "more" }, more));
  }
  state.title = name === "lost" ? data : data.reason;
}

/** A model's name without where it comes from. */
export const shortName = (model) => model.slice(Math.max(model.lastIndexOf("/"), model.indexOf(":")) + 1);
