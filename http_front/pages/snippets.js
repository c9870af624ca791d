// The request on the page as a program.

const json = (value) => JSON.stringify(value);
const list = (items, indent) => (items.length ? `[\n${items.map((item) => `${indent}    ${item},`).join("\n")}\n${indent}]` : "[]");

/** A JSON string is a Python string, but for halves of surrogate pairs, which no text should have. */
const python = (document) => (typeof document === "string" ? json(document) : `{"id": ${json(document.id)}, "text": ${json(document.text)}}`);

export const SNIPPETS = {
  curl({ query, documents }, origin, keyed) {
    const body = `{"query": ${json(query)},\n "documents": [\n${documents.map((each) => `  ${json(each)}`).join(",\n")}]}`;
    const key = keyed ? ' -H "Authorization: Bearer $RERANKER_API_KEY"' : "";
    return `curl -sS ${origin}/v1/rerank -H 'Content-Type: application/json'${key} -d '${body.replaceAll("'", `'\\''`)}'\n`;
  },

  python({ query, documents }) {
    return `from openvino_reranker.client import Reranker

documents = ${list(documents.map(python), "")}
with Reranker() as reranker:
    ranking = reranker.rerank(${json(query)}, documents)
for hit in ranking.hits:
    print(f"{hit.relevance_score:.4f}", hit.index, hit.id or "")
`;
  },

  cohere({ query, documents }, origin, keyed) {
    const texts = documents.map((document) => json(typeof document === "string" ? document : document.text));
    const key = keyed ? 'os.environ["RERANKER_API_KEY"]' : '"none"';
    return `${keyed ? "import os\n\n" : ""}import cohere

documents = ${list(texts, "")}
client = cohere.ClientV2(base_url=${json(origin)}, api_key=${key})
answer = client.rerank(model="any", query=${json(query)}, documents=documents)
for result in answer.results:
    print(f"{result.relevance_score:.4f}", result.index)
`;
  },
};
