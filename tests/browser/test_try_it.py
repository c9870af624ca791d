"""A person's way through the page to try it on, in a real browser, with the real model."""

import ast
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openvino_reranker.client import Reranker
from openvino_reranker.protocol.client_messages import Hello, Rerank, Scores, Served, Timings, Welcome
from openvino_reranker.protocol.limits import DEFAULT_LIMITS
from openvino_reranker.tests.browser.conftest import FLAGS, Visit, violations
from openvino_reranker.tests.client.fake_broker import FakeBroker
from openvino_reranker.tests.environments import python_with
from openvino_reranker.tests.processes import ROOT, Program, Service, clean_environment
from playwright.sync_api import Browser, Page, expect

QUESTION = "How many people live in Berlin?"
ANSWER = "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
LONG = "🙂 naïve 東京 filler, one of many sentences. " * 50 + ANSWER
#: Longer than its windows reach. It and LONG are asked with QUESTION alone, so that the score cache spares the wait.
CUT = LONG + " and so on." * 1200
PLAYWRIGHTS_BLINK_SETTINGS = (
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
)
PHONE = {"width": 360, "height": 780}
#: As a paste does it; the driver's own way takes Chromium seconds for a thousand lines.
PASTE = """fields => {
    for (const [id, text] of Object.entries(fields)) {
        const field = document.getElementById(id);
        field.value = text;
        field.dispatchEvent(new Event("input", {bubbles: true}));
    }
}"""


def ask(page: Page, query: str, *candidates: str) -> None:
    page.get_by_label("Query", exact=True).fill(query)
    page.get_by_label("Candidates", exact=True).fill("\n".join(candidates))
    page.get_by_role("button", name="Rerank").click()


def ranking(page: Page) -> list[str]:
    """Return the ranked texts, once they are there."""
    page.locator("#ranking li").first.wait_for()
    return page.locator("#ranking .text").all_inner_texts()


def start_front(runtime: Path, **extra: str) -> tuple[Program, str]:
    front = Program("http", "--port", "0", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime), **extra)
    return front, "http://127.0.0.1:" + front.wait_for_line("listening on").rsplit(" ", 1)[1]


def test_one_click_shows_what_a_reranker_does(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    expect(page.locator("#state")).to_contain_text("ready")
    expect(page.get_by_text("8 candidates", exact=True)).to_be_visible()
    given = page.get_by_label("Candidates", exact=True).input_value().splitlines()
    page.get_by_role("button", name="Rerank").click()
    shown = ranking(page)
    answer = service.post({"query": page.get_by_label("Query", exact=True).input_value(), "documents": given}).json()
    assert shown == [given[result["index"]] for result in answer["results"]]
    assert shown[0] == ANSWER
    first = page.locator("#ranking li").first
    expect(first.locator(".moved")).to_have_attribute("title", "up 5 from place 6")
    expect(first.locator(".scores")).to_contain_text(f"{answer['results'][0]['relevance_score']:.4f}")
    expect(first.locator(".scores")).to_contain_text(f"logit {answer['results'][0]['score']:.2f}")
    last = answer["results"][-1]
    down = last["index"] - 7
    expect(page.locator("#ranking li .moved").last).to_have_attribute(
        "title", f"down {-down} from place {last['index'] + 1}"
    )
    widths = page.locator("#ranking .bar i").evaluate_all(
        "bars => bars.map((bar) => bar.getBoundingClientRect().width)"
    )
    full = first.locator(".bar").evaluate("bar => bar.getBoundingClientRect().width")
    for width, result in zip(widths, answer["results"], strict=True):
        assert width == pytest.approx(full * result["relevance_score"], abs=1)
    expect(page.locator("#summary")).to_contain_text("8 candidates ranked by ms-marco-MiniLM-L-12-v2")
    expect(page.locator("#figures")).to_contain_text("CPU, f32")
    assert re.search(r"In the queue\s*[\d.,]+ m?s\s*On the device\s*[\d.,]+ m?s", page.locator("#figures").inner_text())


def test_all_of_it_works_from_the_keyboard(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Query", exact=True)).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Candidates", exact=True)).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type(f"This is about bread.\n{ANSWER}\n")
    page.keyboard.press("Control+Enter")
    assert ranking(page) == [ANSWER, "This is about bread."]
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Rerank")).to_be_focused()
    for name in ("Add files…", "Example", "Clear"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("curl")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Python client")).to_be_checked()


def test_json_lines_give_ids_and_what_only_looks_like_json_is_told(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    lines = ['{"id": 7, "text": "This is about\\nbread."}', f'"{ANSWER}"', '{"text": 5}', "{ braces } are text"]
    ask(page, QUESTION, *lines)
    shown = ranking(page)
    assert shown[0] == ANSWER
    assert sorted(shown[1:]) == ["This is about\nbread.", "{ braces } are text", '{"text": 5}']
    expect(page.locator("#ranking")).to_contain_text("id 7")
    expect(page.get_by_text('Line 3 looks like JSON with a "text" and is not')).to_be_visible()


def test_files_are_split_into_passages_in_the_page(visit: Visit, service: Service, tmp_path: Path) -> None:
    markdown = tmp_path / "notes.md"
    markdown.write_text(f"# Bread\n\nIt is baked.\n\n## Berlin\n\n{ANSWER}\nIt lies on the Spree.\n")
    lines = tmp_path / "more.jsonl"
    lines.write_text('{"id": "x", "text": "Paris"}\n"Rome"\n')
    binary = tmp_path / "picture.txt"
    binary.write_bytes(b"\x89PNG\r\n\xff\x00")
    page = visit(service.url)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add files…").click()
    chooser.value.set_files([markdown, lines, binary])
    expect(page.get_by_text("4 candidates", exact=True)).to_be_visible()  # in the place of the example's
    expect(page.get_by_text("picture.txt is not UTF-8 text.")).to_be_visible()
    page.get_by_role("button", name="Rerank").click()
    assert ranking(page)[0] == f"## Berlin\n{ANSWER}\nIt lies on the Spree."
    expect(page.locator("#ranking li").first).to_contain_text("id notes.md 2")


def test_a_dropped_file_is_added_and_never_takes_the_place_of_the_page(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    page.get_by_label("Candidates", exact=True).fill("first")
    for target in ("#candidates", "h1"):
        dropped = page.evaluate_handle(
            "() => { const transfer = new DataTransfer();"
            " transfer.items.add(new File(['One.\\n\\nTwo.'], 'a.txt', {type: 'text/plain'})); return transfer; }"
        )
        page.dispatch_event(target, "dragover", {"dataTransfer": dropped})
        expect(page.locator("#drop")).to_have_class("drop over")
        page.dispatch_event(target, "drop", {"dataTransfer": dropped})
        expect(page.locator("#drop")).to_have_class("drop")
    expect(page.locator("#count")).to_have_text("3 candidates")
    assert page.get_by_label("Candidates", exact=True).input_value().splitlines() == [
        "first",
        *['{"id":"a.txt 1","text":"One.\\nTwo."}'] * 2,
    ]


def test_long_files_are_cut_between_sentences_and_never_within_a_character(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    passages = """async (text) => (await import("/pages/candidates.js")).passages(text)"""
    sentences = "This is a sentence of some length, and there are many of them. " * 100
    parts = page.evaluate(passages, sentences)
    assert all(part.endswith("them.") and 500 < len(part) <= 1500 for part in parts)
    assert " ".join(parts) == sentences.strip()
    parts = page.evaluate(passages, "x" + "🙂" * 4000)
    assert "".join(parts) == "x" + "🙂" * 4000
    assert all(part.isprintable() for part in parts)
    assert page.evaluate(passages, " \n\n\t\n") == []


def test_a_long_document_shows_the_window_that_won_and_whether_its_end_was_read(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    documents = ["short", LONG, CUT]
    ask(page, QUESTION, *documents)
    ranking(page)
    body = service.post({"query": QUESTION, "documents": documents}).json()["results"]
    items = page.locator("#ranking li")
    for place, result in enumerate(body):
        item, text = items.nth(place), documents[result["index"]]
        expect(item.get_by_text("cut", exact=True)).to_have_count(int(result["truncated"]))
        if text == "short":
            expect(item.locator("mark, button")).to_have_count(0)
            continue
        window = text[result["window"]["start"] : result["window"]["end"]]
        assert ANSWER in window
        expect(item).to_contain_text(f"best of {result['windows']} windows")
        folded = item.locator("mark").inner_text()
        assert window.startswith(folded)
        assert len(folded) < 500
        item.get_by_role("button", name="Show all").click()
        assert item.locator("mark").text_content() == window
        assert item.locator(".text").text_content() == text
        item.get_by_role("button", name="Show less").click()
        assert item.locator("mark").inner_text() == folded
    assert [result["truncated"] for result in sorted(body, key=lambda each: each["index"])] == [False, False, True]


def test_a_document_is_text_whatever_it_holds(visit: Visit, service: Service) -> None:
    evil = """<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> &amp; '"`${1}"""
    page = visit(service.url)
    ask(page, f"{evil}?", evil, json.dumps({"id": evil, "text": f"{evil} {evil}"}))
    assert sorted(ranking(page)) == [evil, f"{evil} {evil}"]
    expect(page.locator("#ranking")).to_contain_text(f"id {evil}")
    assert page.locator("#ranking img, #ranking script, #ranking b b, #snippet *").count() == 0


def test_errors_are_shown_as_the_service_words_them(visit: Visit, service: Service) -> None:
    page = visit(service.url, may_fail=True)
    alert = page.get_by_role("alert")
    for query, candidates in ((" ", ["a"]), ("q", []), ("q", ["word"] * 1001), ("word " * 600, ["a"])):
        page.get_by_role("button", name="Example").click()
        page.get_by_role("button", name="Rerank").click()
        ranking(page)
        expect(alert).to_be_hidden()
        page.evaluate(PASTE, {"query": query, "candidates": "\n".join(candidates)})
        page.get_by_role("button", name="Rerank").click()
        refused = service.post({"query": query.strip(), "documents": candidates})
        assert refused.status_code in (400, 413)
        expect(alert).to_have_text(refused.json()["message"])
        assert page.locator("#ranking li").count() == 0


def test_it_is_painted_before_the_service_answers_and_says_what_it_waits_for(visit: Visit, runtime: Path) -> None:
    with FakeBroker(runtime / "requests.sock") as broker:  # which accepts, and says nothing
        front, url = start_front(runtime)
        with front:
            page = visit(url, may_fail=True)
            assert page.evaluate("performance.getEntriesByName('first-contentful-paint').length") == 1
            expect(page.get_by_text("8 candidates", exact=True)).to_be_visible()
            assert isinstance(broker.receive(), Hello)
            expect(page.locator("#state")).to_contain_text("not ready")
            ask(page, "q", "d")
            expect(page.get_by_role("button", name="Stop")).to_be_visible()
            front.process.kill()  # a signal it can hear would let it wait for the answer it owes
        page.get_by_role("alert").wait_for()
        expect(page.locator("#state")).to_contain_text("no connection")
        ask(page, "q", "d")
        expect(page.get_by_role("alert")).to_have_text(f"Nothing answers at {url}. Is the service running?")


def test_stop_takes_the_request_out_of_the_queue(visit: Visit, runtime: Path) -> None:
    with Program("broker", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as broker:
        broker.wait_for_line("listening on")
        front, url = start_front(runtime)
        with front, Reranker(runtime / "requests.sock") as reranker:
            page = visit(url, may_fail=True)
            ask(page, "q", "d")
            while reranker.status().queue.requests != 1:
                time.sleep(0.02)  # the test's own time limit ends this
            page.get_by_role("button", name="Stop").click()
            while reranker.status().queue.requests != 0:
                time.sleep(0.02)
            expect(page.get_by_role("button", name="Rerank")).to_be_visible()
            expect(page.locator("#summary")).to_have_text("Stopped.")
            expect(page.get_by_role("alert")).to_be_hidden()


def test_the_last_inputs_stay_in_this_browser_and_nowhere_else(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    ask(page, QUESTION, "Paris", ANSWER)
    ranking(page)
    page.reload()
    expect(page.get_by_label("Query", exact=True)).to_have_value(QUESTION)
    expect(page.get_by_label("Candidates", exact=True)).to_have_value(f"Paris\n{ANSWER}")
    assert page.context.cookies() == []
    assert page.evaluate("Object.keys(localStorage)") == ["openvino-reranker last"]
    assert page.url == service.url + "/"
    page.get_by_role("button", name="Clear").click()
    assert "Paris" not in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("button", name="Example").click()
    assert page.evaluate("Object.keys(localStorage)") == []
    page.evaluate("localStorage.setItem('openvino-reranker last', '{\"query\": 5}')")
    page.reload()
    expect(page.get_by_label("Query", exact=True)).to_have_value(QUESTION)  # the example's


TRICKY = ['It\'s a \\n "quote" & $HOME `id` 100% \u2028 🙂', {"id": "a'b", "text": "l'eau\nbouillante"}]


def copied(page: Page, language: str) -> str:
    page.get_by_label(language).check()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    text: str = page.evaluate("navigator.clipboard.readText()")
    assert text == page.locator("#snippet").text_content()
    return text


def test_what_is_copied_asks_the_same(visit: Visit, service: Service, tmp_path: Path) -> None:
    page = visit(service.url, permissions=["clipboard-read", "clipboard-write"])
    query = 'what\'s "boiling" \\ $PATH?'
    ask(page, query, *[json.dumps(each) for each in TRICKY])
    ranking(page)
    expected = service.post({"query": query, "documents": TRICKY}).json()["results"]

    curl = copied(page, "curl")
    shell = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(shell.stdout)["results"] == expected

    program = tmp_path / "copied.py"
    program.write_text(copied(page, "Python client"))
    lines = run_python(program, service.runtime)
    assert lines == [
        f"{each['relevance_score']:.4f} {each['index']} {each.get('id', '')}".rstrip() for each in expected
    ]

    tree = ast.parse(copied(page, "Cohere SDK"))
    values = {
        keyword.arg: ast.literal_eval(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant)
    }
    assert values == {"base_url": service.url, "api_key": "none", "model": "any", "query": query}
    [documents] = [
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
    ]
    assert documents == [TRICKY[0], "l'eau\nbouillante"]


@pytest.mark.clients
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["cohere5", "cohere7"])
def test_what_is_copied_for_the_cohere_sdk_runs(visit: Visit, service: Service, tmp_path: Path, version: str) -> None:
    python = python_with(ROOT / "tests" / "clients" / "requirements" / f"{version}.txt")
    page = visit(service.url, permissions=["clipboard-read", "clipboard-write"])
    ask(page, "what's boiling?", *[json.dumps(each) for each in TRICKY])
    ranking(page)
    program = tmp_path / "copied.py"
    program.write_text(copied(page, "Cohere SDK"))
    expected = service.post({"query": "what's boiling?", "documents": TRICKY}).json()["results"]
    assert run_python(program, service.runtime, python) == [
        f"{each['relevance_score']:.4f} {each['index']}" for each in expected
    ]


def run_python(program: Path, runtime: Path, python: Path = Path(sys.executable)) -> list[str]:
    environment = clean_environment(OPENVINO_RERANKER_RUNTIME_DIR=str(runtime))
    done = subprocess.run([python, program], env=environment, capture_output=True, timeout=60, check=True)
    return [line.rstrip() for line in done.stdout.decode().splitlines()]


def test_where_a_key_is_needed_the_page_asks_for_it_and_forgets_it_with_the_tab(visit: Visit, runtime: Path) -> None:
    with Program("broker", OPENVINO_RERANKER_RUNTIME_DIR=str(runtime)) as broker:
        broker.wait_for_line("listening on")
        front, url = start_front(runtime, OPENVINO_RERANKER_API_KEY="secret", OPENVINO_RERANKER_TIMEOUT="0.2")
        with front:
            page = visit(url, may_fail=True)
            ask(page, "q", "d")
            expect(page.get_by_role("alert")).to_contain_text("an API key is needed")
            page.get_by_label("This service needs an API key").fill("secret")
            page.keyboard.press("Enter")
            expect(page.locator("#key")).to_be_hidden()
            expect(page.locator("#state")).to_contain_text("not ready")
            ask(page, "q", "d")
            expect(page.get_by_role("alert")).to_contain_text("no worker is ready")
            expect(page.locator("#snippet")).to_contain_text("Authorization: Bearer $RERANKER_API_KEY")
            assert "secret" not in page.evaluate("JSON.stringify(localStorage)")
            again = visit(url, may_fail=True)
            expect(again.get_by_label("This service needs an API key")).to_be_visible()


def test_it_can_be_seen_and_heard_by_everybody(visit: Visit, service: Service) -> None:
    page = visit(service.url)
    ask(page, QUESTION, json.dumps({"id": "a", "text": CUT}), "Paris", '{"text": 5}')
    ranking(page)
    page.evaluate("document.querySelector('#key').hidden = false")
    page.evaluate("Object.assign(document.querySelector('#error'), {hidden: false, textContent: 'query is empty'})")
    assert violations(page) == ""


def test_the_npus_busy_time_is_shown_where_there_is_one(visit: Visit, runtime: Path) -> None:
    with FakeBroker(runtime / "requests.sock") as broker:  # nobody's CI has an NPU
        front, url = start_front(runtime)
        with front:
            page = visit(url, may_fail=True)
            ask(page, "q", "d", "e")
            while not isinstance(message := broker.receive(), Rerank):
                if isinstance(message, Hello):
                    broker.answer(Welcome("e", "0", DEFAULT_LIMITS))
            served = Served("org/model", "NPU", "f16", npu_busy_delta_us=1500)
            broker.answer(Scores(message.id, [0.5, -0.5], [], 6, served, Timings(12.5, 2.0, 15.0)))
            assert ranking(page) == ["d", "e"]
            expect(page.locator("#figures")).to_contain_text("DeviceNPU, f16")
            expect(page.locator("#figures")).to_contain_text("NPU busy1.5 ms")
            expect(page.locator("#figures")).to_contain_text("In the queue13 ms")
            front.process.kill()


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit: Visit, service: Service) -> None:
    page = visit(service.url, viewport=PHONE, is_mobile=True, has_touch=True)
    ask(page, QUESTION, json.dumps({"id": "id" * 60, "text": "word" * 200}), LONG, ANSWER)
    ranking(page)
    page.locator("#ranking").get_by_role("button", name="Show all").first.tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = page.get_by_role("button", name="Rerank").bounding_box()
    assert box is not None
    assert box["height"] >= 32


def test_without_javascript_it_says_what_it_is(browser: Browser, service: Service) -> None:
    unscripted = browser.browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=[*FLAGS, "--blink-settings=scriptEnabled=false"],
        ignore_default_args=[PLAYWRIGHTS_BLINK_SETTINGS],  # of two such flags one counts
    )
    page = unscripted.new_page()
    page.goto(service.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Put what your search found in the right order")
    note = page.locator("noscript .note")
    expect(note).to_contain_text("This page needs JavaScript")
    expect(note.locator("pre")).to_contain_text("curl http://127.0.0.1:18818/v1/rerank")
    expect(note.locator("pre")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    page.goto(service.url + "/status")
    expect(note).to_contain_text("openvino-reranker status --watch")
    expect(note.locator("p")).to_be_visible()
    unscripted.close()
