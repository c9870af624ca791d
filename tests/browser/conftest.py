"""A real browser: Debian's Chromium, driven by Playwright, with an eye on what a page must not do."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

#: A browser that talks to nobody but the page it is given.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-site-isolation-trials",  # one process for all tabs of one host
    "--renderer-process-limit=1",
)
Visit = Callable[..., Page]


@pytest.fixture(scope="module")  # longer, and other tests of the process could not use asyncio
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        reason = "chromium is missing; it is in the Debian package chromium"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """A tab without settings: to start a process for each takes longer than most tests."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def visit(browser: Browser, tab: Page) -> Iterator[Visit]:
    """Open a URL as ``visit(url, may_fail=False, **context)``; at the end no page may have done what it must not.

    That is: complain in its console, or ask anybody but the service. With ``may_fail`` the service may refuse
    requests, which the browser itself writes to the console. The first page has the tab of the tests before, emptied;
    others, and those with ``context`` (as Playwright's ``new_context`` takes it), have one of their own.
    """
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_tab(options: dict[str, Any]) -> Page:
            if options:
                return stack.enter_context(browser.new_context(**options)).new_page()
            return stack.enter_context(tab.context.new_page()) if tab.url.startswith("http") else tab

        def open_page(url: str, *, may_fail: bool = False, **options: Any) -> Page:
            page = open_tab(options)
            origin = "/".join(url.split("/")[:3]) + "/"

            def heard(message: ConsoleMessage) -> None:
                if not (may_fail and message.text.startswith("Failed to load resource")):
                    complaints.append(f"{message.type}: {message.text}")

            def asked(request: Request) -> None:
                if not request.url.startswith(origin):
                    complaints.append(f"asked {request.url}")

            hears: dict[str, Callable[[Any], None]] = {
                "console": heard,
                "request": asked,
                "pageerror": lambda error: complaints.append(f"error: {error}"),
                "dialog": lambda dialog: complaints.append(f"dialog: {dialog.message}"),
            }
            for event, hear in hears.items():
                page.on(event, hear)  # type: ignore[call-overload]
                stack.callback(page.remove_listener, event, hear)
            page.set_default_timeout(60_000)
            page.goto(url)
            return page

        yield open_page
    if tab.url.startswith("http"):
        tab.evaluate("localStorage.clear(); sessionStorage.clear()")
        tab.goto("about:blank")
    assert complaints == []


def violations(page: Page) -> str:
    """Return what axe-core finds wrong with a page for people who use a screen reader or see little.

    In light colours every rule is tried, in dark ones that of contrast again.
    """
    reports = []
    schemes: dict[Literal["light", "dark"], dict[str, Any]] = {"dark": {"runOnly": ["color-contrast"]}, "light": {}}
    for scheme, rules in schemes.items():
        page.emulate_media(color_scheme=scheme)
        result = Axe().run(page, options=rules)
        if result.violations_count:
            reports.append(f"{scheme}: {result.generate_report()}")
    return "\n".join(reports)
