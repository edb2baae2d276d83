"""The page's states: key required, busy service, spelling suggestion; and accessibility."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect


def answering(page, **answers):
    """Lets fetch answer by itself: the answers by path, each as often as it is there (status, headers, body).

    Not the network, for the browser would complain of failed requests, which fails a test here.
    """
    page.wait_for_load_state("networkidle")  # the first screen has asked for its documents
    page.evaluate(
        """answers => { const real = window.fetch; window.asked = []; window.fetch = async (path, options) => {
        window.asked.push([String(path), options.headers?.Authorization ?? null]);
        const next = answers[path]?.shift();
        return next ? new Response(JSON.stringify(next[2]), { status: next[0], headers: next[1] }) : real(path, options); }; }""",
        answers,
    )


def serious(page):
    """Accessibility faults that axe finds."""
    violations = Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


def test_a_busy_service_is_asked_again(open_page):
    """After a 429 the page shows when it will try again, and then does so by itself."""
    page = open_page()
    busy = {"title": "Too many requests", "status": 429, "detail": "Ask again in 1 s", "request_id": "r-9"}
    answering(page, search=[[429, {"Retry-After": "1"}, busy]])
    page.get_by_role("searchbox").fill("parse json")
    expect(page.get_by_role("alert")).to_contain_text("Too many requests")
    expect(page.get_by_role("button", name=re.compile("by itself in 1 s"))).to_be_visible()
    expect(page.locator("#results .hit").first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_key_is_asked_for_and_kept_for_the_session(open_page):
    """Where a key is needed a dialog asks for it, again where it was wrong; it goes with each request of this tab."""
    page = open_page()
    refused = [401, {}, {"title": "Unauthorized", "status": 401, "detail": "The key is not known here"}]
    answering(page, search=[refused, refused])
    page.get_by_role("searchbox").fill("parse json")
    dialog = page.get_by_role("dialog", name="This service asks for a key")
    dialog.get_by_label("Key").fill("wrong")
    dialog.get_by_label("Key").press("Enter")
    dialog = page.get_by_role("dialog", name="This key is not accepted")
    expect(dialog).to_contain_text("The key is not known here")
    assert serious(page) == []
    dialog.get_by_label("Key").fill("right")
    dialog.get_by_role("button", name="Use this key").click()
    expect(page.locator("#results .hit").first).to_be_visible()
    asked = page.evaluate("window.asked")
    assert [key for path, key in asked if path == "search"][:3] == [None, "Bearer wrong", "Bearer right"]
    page.reload()
    assert page.evaluate("sessionStorage.getItem('dowse-key')") == "right"
    assert page.evaluate("localStorage.length") == 0


def test_another_key_can_be_given_where_one_may_not(open_page):
    """Where a key lacks the scope, the problem offers to use another, and the next try has it."""
    page = open_page()
    page.evaluate("sessionStorage.setItem('dowse-key', 'writer')")
    forbidden = {
        "type": "urn:dowse:problem:forbidden",
        "title": "Not allowed for this key",
        "status": 403,
        "detail": "no",
    }
    answering(page, search=[[403, {}, forbidden]])
    page.get_by_role("searchbox").fill("parse json")
    page.get_by_role("alert").get_by_role("button", name="Use another key").click()
    dialog = page.get_by_role("dialog", name="Use another key")
    assert serious(page) == []
    dialog.get_by_label("Key").fill("reader")
    dialog.get_by_label("Key").press("Enter")
    expect(page.locator("#results .hit").first).to_be_visible()
    asked = page.evaluate("window.asked")
    assert [key for path, key in asked if path == "search"][:2] == ["Bearer writer", "Bearer reader"]


def test_filters_go_where_nothing_answers(open_page):
    """Behind the box that says that the service is down there is no filter to press; the next answer brings them back."""
    page = open_page("/?q=remove+a+directory+tree")
    expect(page.locator("#facets .facet").first).to_be_visible()
    expect(page.locator("#results .near").first).to_be_visible()  # the last request of the first search
    answering(page, search=[[502, {}, {"title": "The service is down", "status": 502}]])
    page.get_by_role("searchbox").fill("parse json")
    expect(page.get_by_role("alert")).to_contain_text("The service is down")
    expect(page.locator("#panel")).to_be_hidden()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#facets .facet").first).to_be_visible()


def test_no_key_is_an_answer(open_page):
    """Who gives no key sees what the service says, and can try again."""
    page = open_page()
    answering(page, search=[[401, {}, {"title": "Unauthorized", "status": 401, "detail": "This service needs a key"}]])
    page.get_by_role("searchbox").fill("parse json")
    page.get_by_role("dialog").get_by_role("button", name="Not now").click()
    expect(page.get_by_role("alert")).to_contain_text("This service needs a key")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#results .hit").first).to_be_visible()


def test_did_you_mean_leads_to_results(open_page):
    """Misspelt words that find nothing come with words of the corpus, which one click searches for."""
    page = open_page("/?q=directoryy&mode=lexical")
    page.locator("#suggestion").get_by_role("link", name="directory").click()
    expect(page.get_by_role("searchbox")).to_have_value("directory")
    expect(page.locator("#results .hit").first).to_be_visible()


def test_varied_results_are_asked_for(open_page):
    """The box for varied results asks for them, and the link keeps it."""
    page = open_page("/?q=subprocess")
    expect(page.locator("#results .hit").first).to_be_visible()
    with page.expect_request(lambda request: "diversity" in (request.post_data or "")) as request:
        page.get_by_role("checkbox", name="Varied").check()
    assert request.value.post_data_json["diversity"] > 0
    page.reload()
    expect(page.get_by_role("checkbox", name="Varied")).to_be_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, scheme):
    """The start, results with filters, what finds nothing and a problem are usable with a screen reader, in both schemes."""
    page = open_page(scheme=scheme)
    expect(page.locator("#welcome")).to_be_visible()
    assert serious(page) == []
    page.get_by_role("searchbox").fill("remove a directory tree")
    expect(page.locator("#facets .facet").first).to_be_visible()
    page.get_by_role("checkbox").nth(1).check()
    expect(page.locator("#chosen button").first).to_be_visible()
    assert serious(page) == []
    answering(page, search=[[500, {}, {"title": "Broken", "status": 500, "detail": "`x` broke", "request_id": "r"}]])
    page.get_by_role("searchbox").fill("anything else")
    expect(page.get_by_role("alert")).to_be_visible()
    assert serious(page) == []
