"""What a browser gets in place of JSON: the page of a problem, which asks for a key, and the report behind it."""

from __future__ import annotations

import re
import shutil

import pytest
from example_report import example_report
from playwright.sync_api import expect

from service.security.keys import add_key

ASKS = "This service asks for a key"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, tiny_data, publish, publish_tuned, start_module_service):
    """The URL of a service with a report that needs keys, and two keys: one that may read, one that may only write."""
    data = tmp_path_factory.mktemp("guarded") / "data"
    shutil.copytree(tiny_data, data)
    publish_tuned(data, example_report(queries=20, unseen=10), base="org/model")
    publish({"id": ["a", "b"], "text": ["The kettle whistles.", "The lamp glows."]}, data)
    keys = [add_key(data / "keys.json", name, (name,)) for name in ("search", "write")]
    return start_module_service(data).url, *keys


@pytest.fixture
def visit(browser):
    """Opens addresses in one tab. Chromium reports each refused request, so what the console says does not count here."""
    context = browser.new_context()
    page = context.new_page()
    yield page
    context.close()


def give(page, name, key):
    """Types a key into the dialog of this name."""
    dialog = page.get_by_role("dialog", name=name)
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_label("Key").press("Enter")


def test_the_report_behind_a_key(guarded, visit):
    """The report asks for a key, stands alone in its own style, stays after a reload, and leads back to the search."""
    url, reader, _ = guarded
    assert visit.goto(f"{url}/report").status == 401
    give(visit, ASKS, reader)
    heading = visit.get_by_role("heading", name="The tuned model is better")
    for again in (lambda: None, visit.reload):
        again()
        expect(heading).to_be_visible()
        assert visit.locator("link[rel=stylesheet], .brand, dialog, #problem").count() == 0
        assert visit.evaluate("document.adoptedStyleSheets[0].cssRules.length") > 10
        expect(visit).to_have_title(re.compile("^WIN: "))
    visit.get_by_role("link", name="Search").click()
    expect(visit.get_by_role("heading", name="Search 2 documents")).to_be_visible()
    visit.get_by_role("searchbox").fill("kettle")
    expect(visit.locator("#results .hit").first).to_be_visible()
    visit.get_by_role("link", name="Training report").click()
    expect(heading).to_be_visible()
    visit.go_back()
    expect(visit.locator("#results .hit").first).to_be_visible()


def test_a_key_that_may_not_is_replaced(guarded, visit):
    """A key without the scope is told so where the report would be, and another one opens it."""
    url, reader, writer = guarded
    visit.goto(f"{url}/report")
    give(visit, ASKS, writer)
    expect(visit.get_by_role("alert")).to_contain_text("Not allowed for this key")
    visit.get_by_role("button", name="Use another key").click()
    give(visit, "Use another key", reader)
    expect(visit.get_by_role("heading", name="The tuned model is better")).to_be_visible()


def test_a_key_can_be_given_later(guarded, visit):
    """Whoever gives no key is told that one is needed, and can give it on that page."""
    url, reader, _ = guarded
    visit.goto(f"{url}/report")
    visit.get_by_role("button", name="Not now").click()
    expect(visit.get_by_role("alert")).to_contain_text("API key required")
    visit.get_by_role("button", name="Enter a key").click()
    give(visit, "Enter a key", reader)
    expect(visit.get_by_role("heading", name="The tuned model is better")).to_be_visible()


def test_an_answer_that_is_no_page(guarded, visit):
    """What is JSON for everybody is shown as it is, once there is a key."""
    url, reader, _ = guarded
    visit.goto(f"{url}/info")
    give(visit, ASKS, reader)
    expect(visit.locator("pre")).to_contain_text('"name":"Dowse"')


def test_an_address_that_does_not_exist(visit, story_service):
    """A wrong address, however deep, is a page in the service's style with a way to the search, and offers no key."""
    assert visit.goto(f"{story_service.url}/no/such%2Fplace/<b>").status == 404
    expect(visit.get_by_role("alert")).to_contain_text("<b>")
    expect(visit.get_by_role("button", name="Use another key")).to_be_hidden()
    assert visit.evaluate("getComputedStyle(document.querySelector('#problem')).borderRadius") == "14px"
    visit.get_by_role("link", name="← Search").click()
    expect(visit.get_by_role("searchbox")).to_be_visible()
