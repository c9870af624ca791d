"""README's pictures of the page, in light and dark: ``make screenshots``."""

import shutil
import sys

from openvino_reranker.npu_worker.model.pull import pull
from openvino_reranker.tests.browser.conftest import FLAGS
from openvino_reranker.tests.conftest import MODELS
from openvino_reranker.tests.processes import ROOT, RuntimeFolder, Service
from playwright.sync_api import ViewportSize, sync_playwright

SIZE = ViewportSize(width=1040, height=500)


def main() -> int:
    executable = shutil.which("chromium")
    if executable is None:
        print("chromium is missing; it is in the Debian package chromium", file=sys.stderr)
        return 1
    packaged = pull(MODELS, "packaged", "fp16", print)
    with (
        RuntimeFolder() as runtime,
        Service(runtime, packaged.folder) as service,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=list(FLAGS)) as browser,
    ):
        page = browser.new_page(viewport=SIZE)
        page.goto(service.url)
        for _ in range(5):  # the first prepare what later ones are quicker with
            with page.expect_response("**/v1/rerank"):
                page.get_by_role("button", name="Rerank").click()
            page.get_by_role("button", name="Rerank").wait_for()
        page.locator("#ranking li").first.wait_for()
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur(); scrollTo(0, document.querySelector('.desk').offsetTop - 24)")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            picture = ROOT / "docs" / f"page-{scheme}.png"
            page.screenshot(path=picture)
            print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
