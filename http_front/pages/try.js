// The page to try it on.

import { readCandidates, splitFile } from "./candidates.js";
import { byId, say } from "./dom.js";
import { figures, rankedItems } from "./results.js";
import { hasKey, rerank, shortName, showState, watchStatus } from "./service.js";
import { SNIPPETS } from "./snippets.js";
import { some } from "./words.js";

const STORED = "openvino-reranker last";
const EXAMPLE = {
  query: "How many people live in Berlin?",
  candidates: `People who live in Berlin call themselves Berliners, and how many of them like the name nobody knows.
Berlin is well known for its museums; how many people visit them varies from year to year.
Many people live in the districts around the ring railway, where rents have doubled in ten years.
Hamburg, the second largest city of Germany, has 1.9 million inhabitants.
A Berliner is also a doughnut without a hole, filled with jam.
Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.
Berlin was founded in the 13th century on an island in the Spree.
The census of 2022 counted 3.6 million residents in the German capital.
`,
};

const query = byId("query");
const candidates = byId("candidates");
let running = null;

// --- what is asked ---------------------------------------------------------------------------------

function request() {
  return { query: query.value.trim(), ...readCandidates(candidates.value) };
}

function show({ query: text, candidates: lines }) {
  query.value = text;
  candidates.value = lines;
  inputsChanged();
}

function inputsChanged() {
  const { documents, note } = request();
  say(byId("count"), some(documents.length, "candidate"));
  say(byId("read-note"), note);
  showSnippet();
}

/** The last inputs, which stay in this browser. */
function restore() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORED));
    if (typeof stored?.query === "string" && typeof stored.candidates === "string") return stored;
  } catch {
    // no storage, or not ours
  }
  return EXAMPLE;
}

function store() {
  try {
    if (query.value === EXAMPLE.query && candidates.value === EXAMPLE.candidates) localStorage.removeItem(STORED);
    else localStorage.setItem(STORED, JSON.stringify({ query: query.value, candidates: candidates.value }));
  } catch {
    // no storage, or no room in it
  }
}

async function addFiles(files) {
  const lines = [];
  const problems = [];
  for (const file of files) {
    try {
      lines.push(...splitFile(file.name, await file.arrayBuffer()));
    } catch (error) {
      problems.push(error.message);
    }
  }
  if (lines.length) {
    const before = candidates.value === EXAMPLE.candidates ? "" : candidates.value.trimEnd();
    candidates.value = `${[before, ...lines].filter(Boolean).join("\n")}\n`;
    store();
    inputsChanged();
  }
  if (problems.length) say(byId("read-note"), problems.join(" "));
}

// --- what is answered ------------------------------------------------------------------------------

async function run() {
  running?.abort();
  const mine = (running = new AbortController());
  const { query: text, documents } = request();
  store();
  byId("run").textContent = "Stop";
  say(byId("summary"), "Ranking …");
  try {
    showRanking(documents, await rerank({ query: text, documents }, mine.signal));
  } catch (error) {
    if (!mine.signal.aborted) showError(error.message);
    else if (running === mine) say(byId("summary"), "Stopped.");
  } finally {
    if (running === mine) {
      running = null;
      byId("run").textContent = "Rerank";
    }
  }
}

function showRanking(documents, answer) {
  byId("error").hidden = true;
  byId("figures").hidden = false;
  byId("figures").replaceChildren(...figures(answer, documents.length));
  byId("ranking").replaceChildren(...rankedItems(documents, answer));
  const first = answer.results[0];
  const moved = answer.results.filter((result, place) => result.index !== place).length;
  say(byId("summary"), `${some(documents.length, "candidate")} ranked by ${shortName(answer.model)}; ` +
    (moved ? `${moved} moved, and the best was number ${first.index + 1}.` : "none moved."));
}

function showError(message) {
  byId("figures").hidden = true;
  byId("ranking").replaceChildren();
  say(byId("summary"), "");
  byId("error").hidden = false;
  say(byId("error"), message);
}

// --- the same as a program -------------------------------------------------------------------------

function snippet() {
  const language = document.querySelector("input[name=language]:checked").value;
  return SNIPPETS[language](request(), location.origin, hasKey());
}

function showSnippet() {
  say(byId("copied"), "");
  say(byId("snippet"), snippet());
}

async function copy() {
  try {
    await navigator.clipboard.writeText(snippet());
    say(byId("copied"), "Copied.");
  } catch {
    getSelection().selectAllChildren(byId("snippet"));
    say(byId("copied"), "Selected: copy it with Ctrl C.");
  }
}

// --- events ----------------------------------------------------------------------------------------

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) running.abort();
  else run();
});
byId("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
for (const field of [query, candidates]) {
  field.addEventListener("input", inputsChanged);
  field.addEventListener("change", store);
}
byId("example").addEventListener("click", () => {
  show(EXAMPLE);
  store();
});
byId("clear").addEventListener("click", () => {
  show({ query: "", candidates: "" });
  byId("figures").hidden = byId("error").hidden = true;
  byId("ranking").replaceChildren();
  say(byId("summary"), "");
  store();
  query.focus();
});
byId("add-files").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", async (event) => {
  await addFiles([...event.target.files]);
  event.target.value = "";
});
byId("copy").addEventListener("click", copy);
for (const choice of document.querySelectorAll("input[name=language]")) choice.addEventListener("change", showSnippet);

const drop = byId("drop");
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault(); // a file that misses the field must not take the place of the page
    drop.classList.toggle("over", true);
  });
}
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  drop.classList.remove("over");
  addFiles([...event.dataTransfer.files]);
});

show(restore());
watchStatus(showState);
