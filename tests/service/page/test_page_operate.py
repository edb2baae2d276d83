"""The pages of operators in a real Chromium: status and queries, with keys, on a phone, by keyboard, and for axe."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from http.client import HTTPConnection

import pytest
from axe_playwright_python.sync_playwright import Axe
from example_report import example_report
from playwright.sync_api import expect

from indexer.artifacts.store import Store
from indexer.live.query_log import QueryLog
from service.security.keys import add_key

STORIES = {"id": ["a", "b"], "text": ["The cat sits in the garden.", "The dog runs by the river."]}


@pytest.fixture(scope="module")
def operated(tmp_path_factory, tiny_data, publish, publish_tuned):
    """A data directory with a live model, one that has tied, and a query log."""
    data = tmp_path_factory.mktemp("operated") / "data"
    shutil.copytree(tiny_data, data)
    base = Store("model", data).current_id()
    publish(STORIES, data)
    publish_tuned(
        data, example_report(queries=20, unseen=10), verdict="TIE", base="sentence-transformers/all-MiniLM-L6-v2"
    )
    Store("model", data).activate(base)
    entry = {
        "time": datetime.now(UTC).isoformat(),
        "mode": "hybrid",
        "relevance": None,
        "filtered": False,
        "tenant": None,
    }
    asked = [("red <b>lamp</b>", 10, 4.0)] * 3 + [("kettle", 10, 6.0), ("zzzz", 0, 2.0)]
    QueryLog(data).append([{**entry, "query": query, "results": results, "ms": ms} for query, results, ms in asked])
    return data


@pytest.fixture(scope="module")
def operated_service(operated, start_module_service):
    """The URL of a service that keeps a query log and takes clicks."""
    running = start_module_service(operated, "--query-log", "--clicks")
    body = json.dumps({"query": "kettle", "document": "b", "click": True, "rank": 2}).encode()
    connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.request("POST", "/feedback", body, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()
    return running.url


def serious(page):
    """Accessibility faults that axe finds."""
    violations = Axe().run(page).response["violations"]
    return [each["id"] for each in violations if each["impact"] in ("serious", "critical")]


def test_the_status_page_shows_what_is_live_and_what_was(open_page, operated, operated_service):
    """Models have their verdict in words, their report, and the command that activates them, which a button copies."""
    page = open_page("/status", url=operated_service)
    live, tie = (page.locator("#models li").filter(has_text=each) for each in Store("model", operated).ids())
    expect(live.locator(".badge").first).to_have_text("live")
    expect(live).to_contain_text("Not trained on these documents")
    expect(tie).to_contain_text("No reliable difference to the model it started from: 26.7 → 29.1 of 100 points")
    expect(page.locator("#serving")).to_contain_text("Not trained on these documents")
    expect(page.locator("#disk li").first).to_contain_text("models")
    expect(page.locator("#queries")).to_contain_text("5 searches, 1 without a result")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tie.get_by_role("button", name="Copy the command").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"python -m indexer activate --kind model {Store('model', operated).ids()[-1]}"
    tie.get_by_role("link", name="Report").click()
    expect(page.get_by_role("link", name="← Status")).to_be_visible()
    page.get_by_role("link", name="← Status").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()


def test_the_page_of_queries_shows_what_was_searched_for(open_page, operated_service):
    """The most frequent queries lead to their results, those that found nothing stand apart, markup stays text."""
    page = open_page("/queries", url=operated_service)
    rows = page.locator("#top tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["Query", "Searches", "Opened"], ["red <b>lamp</b>", "3", "0"], ["kettle", "1", "1"], ["zzzz", "1", "0"],
    ]  # fmt: skip
    assert page.locator("#top b").count() == 0
    expect(page.locator("#nothing tr")).to_have_count(2)
    expect(page.locator("#ranks li")).to_have_text(["Rank 2 1 (100 %)"])
    expect(page.locator("#tiles")).to_contain_text("1 (20 %)")
    page.get_by_label("The last").select_option("1")
    expect(page.locator("#by-day li")).to_have_count(1)
    page.locator("#top").get_by_role("link", name="kettle").click()
    expect(page.get_by_role("searchbox")).to_have_value("kettle")


@pytest.mark.parametrize("path", ["/status", "/queries"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, operated_service, path, scheme):
    """Both pages are usable with a screen reader, in both schemes, and fit a phone."""
    page = open_page(path, url=operated_service, scheme=scheme, width=360, height=740)
    expect(page.locator("#answer")).to_be_visible()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_an_administrators_key_is_asked_for(browser, operated, start_service, tmp_path):
    """Where keys are, the page asks for one, says where its scope is not enough, and shows the status with another."""
    keys = tmp_path / "keys.json"
    reader, admin = add_key(keys, "reader", ("search",)), add_key(keys, "boss", ("admin",))
    running = start_service(operated, "--keys", str(keys))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{running.url}/status")
    for key in (reader, admin):
        page.get_by_role("dialog").get_by_label("Key").fill(key)
        page.get_by_role("dialog").get_by_label("Key").press("Enter")
        if key == reader:
            expect(page.get_by_role("alert")).to_contain_text("the key 'reader' has search")
            page.get_by_role("button", name="Use another key").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    page.goto(f"{running.url}/queries")
    expect(page.get_by_role("alert")).to_contain_text("--query-log")
    context.close()
