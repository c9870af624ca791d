"""The clients people have, from their own packages, against the running service. Run by ``make test-clients``."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openvino_reranker.npu_worker.model.store import ReadyModel
from openvino_reranker.protocol.client_messages import Refusal, Rerank
from openvino_reranker.tests.client.fake_broker import FakeBroker
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import Program, RuntimeFolder, Service, clean_environment

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

#: What each script is given: a question, passages, and which is the best.
HEAD = """
import json, sys
URL, UDS = sys.argv[1], sys.argv[2]
QUERY = "How many people live in Berlin?"
DOCS = ["Berlin is well known for its museums.",
        "Berlin had a population of 3,520,031 registered inhabitants.",
        "Paris has about two million inhabitants."]
"""
BEST = 1

COHERE = (
    HEAD
    + """
import asyncio, cohere, httpx
found = {}
def keep(name, answer):
    assert sorted(result.index for result in answer.results) == [0, 1, 2], answer
    found[name] = [answer.results[0].index, answer.results[0].relevance_score, bool(answer.id)]
client = cohere.ClientV2(api_key="none", base_url=URL)
keep("v2", client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCS))
best = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCS, top_n=1, max_tokens_per_doc=4096)
assert len(best.results) == 1, best
v1 = cohere.Client(api_key="none", base_url=URL)
answer = v1.rerank(model="rerank-english-v3.0", query=QUERY, documents=[{"text": text} for text in DOCS],
                   return_documents=True, rank_fields=["text"], max_chunks_per_doc=10)
keep("v1", answer)
assert answer.results[0].document.text == DOCS[1], answer
prefixed = cohere.ClientV2(api_key="none", base_url=URL + "/cohere")
keep("prefix", prefixed.rerank(model="m", query=QUERY, documents=DOCS))
async def ask():
    client = cohere.AsyncClientV2(api_key="none", base_url=URL)
    return await client.rerank(model="m", query=QUERY, documents=DOCS)
keep("async", asyncio.run(ask()))
over_uds = cohere.ClientV2(api_key="none", base_url="http://localhost",
                           httpx_client=httpx.Client(transport=httpx.HTTPTransport(uds=UDS)))
keep("uds", over_uds.rerank(model="m", query=QUERY, documents=DOCS))
try:
    client.rerank(model="m", query=" ", documents=DOCS)
except cohere.errors.BadRequestError as error:
    found["error"] = error.body["message"]
print(json.dumps(found))
"""
)

OVERLOADED = """
import cohere, sys, time
started = time.monotonic()
try:
    cohere.ClientV2(api_key="none", base_url=sys.argv[1]).rerank(model="m", query="q", documents=["d"])
except cohere.errors.TooManyRequestsError as error:
    print(error.body["message"], round(time.monotonic() - started, 1))
"""

LANGCHAIN = (
    HEAD
    + """
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
ranker = CohereRerank(model="any", cohere_api_key="none", base_url=URL, top_n=2)
kept = ranker.compress_documents([Document(page_content=text, metadata={"n": n}) for n, text in enumerate(DOCS)], QUERY)
assert len(kept) == 2, kept
print(json.dumps([kept[0].metadata["n"], kept[0].metadata["relevance_score"]]))
"""
)

RERANKERS = (
    HEAD
    + """
from rerankers.models.api_rankers import APIRanker
for provider, path in (("cohere", "/v1/rerank"), ("jina", "/v1/rerank"), ("jina", "/jina/v1/rerank"),
                       ("text-embeddings-inference", "/rerank"), ("text-embeddings-inference", "/tei/rerank"),
                       ("voyage", "/voyage/v1/rerank")):
    ranked = APIRanker("any", "none", provider, url=URL + path).rank(QUERY, DOCS)
    print(json.dumps([provider, ranked.top_k(1)[0].doc_id, ranked.top_k(1)[0].score, len(ranked.results)]))
"""
)

INFINITY = (
    HEAD
    + """
from infinity_client import Client
from infinity_client.api.default import models, rerank
from infinity_client.models import RerankInput
for prefix in ("", "/infinity"):
    with Client(base_url=URL + prefix) as client:
        body = RerankInput(query=QUERY, documents=DOCS, top_n=2, return_documents=bool(prefix))
        answer = rerank.sync(client=client, body=body)
        assert len(answer.results) == 2, answer
        print(json.dumps([answer.results[0].index, answer.results[0].relevance_score, answer.usage.total_tokens]))
"""
)

XINFERENCE = (
    HEAD
    + """
from xinference_client import RESTfulClient
model = RESTfulClient(URL).get_model("bge-reranker-v2-m3")
answer = model.rerank(DOCS, QUERY, top_n=2, return_documents=True)
assert len(answer["results"]) == 2, answer
assert answer["results"][0]["document"]["text"] == DOCS[1], answer
print(json.dumps([answer["results"][0]["index"], answer["results"][0]["relevance_score"]]))
"""
)

VOYAGE = (
    HEAD
    + """
import asyncio, voyageai
answer = voyageai.Client(api_key="none", base_url=URL + "/voyage/v1").rerank(QUERY, DOCS, model="rerank-2", top_k=2)
async def ask():
    client = voyageai.AsyncClient(api_key="none", base_url=URL + "/voyage/v1")
    return await client.rerank(QUERY, DOCS, model="rerank-2")
for each in (answer, asyncio.run(ask())):
    assert each.results[0].document == DOCS[1], each
    print(json.dumps([each.results[0].index, each.results[0].relevance_score, each.total_tokens]))
try:
    voyageai.Client(api_key="none", base_url=URL + "/voyage/v1").rerank(" ", DOCS, model="rerank-2")
except voyageai.error.InvalidRequestError as error:
    print(json.dumps(str(error)))
"""
)

LITELLM = (
    HEAD
    + """
import os, warnings
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the internet
import litellm
warnings.simplefilter("ignore")
for model, base in (("cohere/m", URL), ("jina_ai/m", URL + "/v1/rerank"), ("infinity/m", URL + "/infinity"),
                    ("hosted_vllm/m", URL), ("hosted_vllm/m", URL + "/vllm"), ("voyage/m", URL + "/voyage/v1/rerank"),
                    ("huggingface/m", URL), ("huggingface/m", URL + "/tei")):
    for shown in (False, True):
        answer = litellm.rerank(model=model, query=QUERY, documents=DOCS, top_n=3, api_base=base, api_key="none",
                                return_documents=shown)
        assert len(answer.results) == 3, answer
        best = answer.results[0]
        assert not shown or best["document"]["text"] == DOCS[1], answer
        print(json.dumps([model, best["index"], best["relevance_score"]]))
"""
)

REQUESTS = """
import requests, sys
for size, path, status in ((36, "/rerank", 413), (100, "/rerank", 413), (5, "/nothing", 404)):
    for _ in range(3):
        answer = requests.post(sys.argv[1] + path, data=b"x" * size * 1_000_000, timeout=60)
        assert answer.status_code == status, answer
        assert answer.json()["error"]["code"] == status
print("all read")
"""


def environment(name: str) -> Path:
    """Return the Python of the environment ``requirements/NAME.txt``."""
    return python_with(Path(__file__).parent / "requirements" / f"{name}.txt")


def run_script(python: Path, script: str, *arguments: str) -> str:
    """Run a script with one of these Pythons, without this package in reach; return what it prints."""
    environ = clean_environment()
    del environ["PYTHONPATH"]
    done = subprocess.run(
        [python, "-c", script, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def served(packaged: ReadyModel) -> Iterator[tuple[str, str]]:
    """A service's URL, and the Unix socket it serves the same on."""
    with (
        RuntimeFolder() as runtime,
        Service(runtime, packaged.folder, "--uds", str(runtime / "http.sock")) as service,
    ):
        assert (runtime / "http.sock").stat().st_mode & 0o777 == 0o660
        yield service.url, str(runtime / "http.sock")


@pytest.mark.parametrize("version", ["cohere5", "cohere7"])
def test_cohere(served: tuple[str, str], version: str) -> None:
    found = json.loads(run_script(environment(version), COHERE, *served))
    assert found.pop("error") == "query is empty"
    assert set(found) == {"v1", "v2", "prefix", "async", "uds"}
    for index, score, has_id in found.values():
        assert (index, has_id) == (BEST, True)
        assert 0.9 < score <= 1


@pytest.mark.parametrize("version", ["cohere5", "cohere7"])
def test_cohere_asks_three_times_at_429_and_waits_as_it_is_told(version: str) -> None:
    python = environment(version)
    with (
        RuntimeFolder() as runtime,
        FakeBroker(runtime / "requests.sock") as broker,
        Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as front,
        ThreadPoolExecutor(1) as pool,
    ):
        url = "http://127.0.0.1:" + front.wait_for_line("listening on").rsplit(" ", 1)[1]
        script = pool.submit(run_script, python, OVERLOADED, url)
        refused = 0
        while refused < 3:
            if isinstance(message := broker.receive(), Rerank):
                broker.answer(Refusal(message.id, "overloaded", "the queue is full", 1000))
                refused += 1
        said, seconds = script.result().rsplit(" ", 1)
    assert said == "the queue is full"
    assert float(seconds) >= 2  # twice a second, as Retry-After said


def test_langchain_cohere(served: tuple[str, str]) -> None:
    index, score = json.loads(run_script(environment("langchain"), LANGCHAIN, *served))
    assert index == BEST
    assert score > 0.9


@pytest.mark.parametrize(
    ("script", "lines"), [(RERANKERS, 6), (INFINITY, 2), (XINFERENCE, 1)], ids=["rerankers", "infinity", "xinference"]
)
def test_others(served: tuple[str, str], script: str, lines: int) -> None:
    printed = [json.loads(line) for line in run_script(environment("others"), script, *served).splitlines()]
    assert len(printed) == lines
    for *_, index, score, _ in ([*line, 0][:4] if isinstance(line[0], str) else [*line[:2], 0] for line in printed):
        assert index == BEST
        assert 0.9 < score <= 1


def test_litellm(served: tuple[str, str]) -> None:
    printed = [json.loads(line) for line in run_script(environment("litellm"), LITELLM, *served).splitlines()]
    assert len(printed) == 16
    for _, index, score in printed:
        assert index == BEST
        assert 0.9 < score <= 1


def test_voyage(served: tuple[str, str]) -> None:
    *answers, error = map(json.loads, run_script(environment("others"), VOYAGE, *served).splitlines())
    assert len(answers) == 2
    for index, score, tokens in answers:
        assert index == BEST
        assert 0.9 < score <= 1
        assert tokens > 0
    assert "query is empty" in error


def test_requests_reads_early_refusals(served: tuple[str, str]) -> None:
    assert run_script(environment("others"), REQUESTS, served[0]) == "all read\n"
