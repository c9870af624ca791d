// What is typed or dropped, read as candidates.

/** Passages of a file are about so long, characters: a model reads about 2,000 at once. */
const PASSAGE = 1000;

/**
 * Read the text of the candidates' field: JSON lines where a line is JSON with a text, else a candidate a line.
 * Returns the documents, and a note on lines that look like JSON and are not.
 */
export function readCandidates(text) {
  const documents = [];
  const broken = [];
  text.split(/\r\n|\n|\r/).forEach((line, index) => {
    const candidate = line.trim();
    if (!candidate) return;
    const document = /^[{"]/.test(candidate) ? fromJson(candidate) : undefined;
    if (document === undefined && /^\{\s*"/.test(candidate)) broken.push(index + 1);
    documents.push(document ?? candidate);
  });
  const lines = broken.slice(0, 5).join(", ") + (broken.length > 5 ? ", …" : "");
  const note = broken.length ? `Line ${lines} looks like JSON with a "text" and is not; read as it stands.` : "";
  return { documents, note };
}

function fromJson(line) {
  let value;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value === "string") return value;
  if (typeof value?.text !== "string") return undefined;
  return value.id === undefined || value.id === null ? value.text : { id: String(value.id), text: value.text };
}

/** The text of a document, which is a string or has one. */
export const textOf = (document) => (typeof document === "string" ? document : document.text);

/**
 * Split a file into candidates, each a line for the candidates' field.
 * @throws {Error} the file is not text.
 */
export function splitFile(name, bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${name} is not UTF-8 text.`);
  }
  if (text.includes("\0")) throw new Error(`${name} is not text.`);
  if (/\.(jsonl|ndjson)$/i.test(name)) return readCandidates(text).documents.map((document) => JSON.stringify(document));
  return passages(text).map((passage, index) => JSON.stringify({ id: `${name} ${index + 1}`, text: passage }));
}

/** Join paragraphs to passages of about PASSAGE characters; a Markdown heading begins a new one. */
export function passages(text) {
  const result = [];
  let current = "";
  const finish = () => {
    if (current) result.push(current);
    current = "";
  };
  for (const paragraph of text.split(/(?:\r?\n[ \t]*){2,}|\n(?=#{1,6} )/)) {
    for (const part of shortened(paragraph.trim())) {
      if (/^#{1,6} /.test(part) || current.length + part.length > PASSAGE) finish();
      current += (current && "\n") + part;
    }
  }
  finish();
  return result;
}

/** Cut a paragraph that is too long between its sentences, or else between words, or else between characters. */
function shortened(paragraph) {
  const parts = [];
  let rest = paragraph;
  while (rest.length > 1.5 * PASSAGE) {
    const window = rest.slice(0, PASSAGE);
    const sentence = Math.max(...[". ", "? ", "! ", "。", "\n"].map((end) => window.lastIndexOf(end)));
    const halved = /[\ud800-\udbff]$/.test(window) ? 1 : 0;
    const end = sentence + 1 || window.lastIndexOf(" ") + 1 || PASSAGE - halved;
    parts.push(rest.slice(0, end).trim());
    rest = rest.slice(end).trim();
  }
  if (rest) parts.push(rest);
  return parts;
}
