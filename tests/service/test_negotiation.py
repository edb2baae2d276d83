"""Content negotiation: a browser that opens an address gets a page, and everybody else problem details."""

from __future__ import annotations

import html

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    "path", ["/nope", "/report", "/documents/nope", "/search?top_k=0", "/page/nope.js", "/v1/models/nope"]
)
def test_a_browser_gets_a_page(client, path):
    """Whatever goes wrong at an address is a page with the same status, the same words and no script of its own."""
    page, problem = (client.get(path, headers={"Accept": accept}) for accept in (BROWSER, "application/json"))
    assert page.status_code == problem.status_code >= 400
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json()["title"] in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert {"Accept", "Sec-Fetch-Mode"} <= {each.strip() for each in page.headers["Vary"].split(",")}
    assert page.headers["Vary"] == problem.headers["Vary"]


@pytest.mark.parametrize(
    ("headers", "is_page"),
    [
        ({"Accept": BROWSER}, True),
        ({"Accept": "text/html"}, True),
        ({"Accept": "TEXT/HTML ; q=0.9, application/json;q=0.5"}, True),
        ({"Accept": BROWSER, "Sec-Fetch-Mode": "navigate"}, True),
        ({"Accept": BROWSER, "Sec-Fetch-Mode": "cors"}, False),
        ({"Accept": "*/*"}, False),
        ({"Accept": "text/*"}, False),
        ({"Accept": "application/json, text/html;q=0.9"}, False),
        ({"Accept": "text/html;q=0.5, application/problem+json"}, False),
        ({"Accept": "text/html;q=0"}, False),
        ({"Accept": "text/html;q=much"}, False),
        ({"Accept": ""}, False),
        ({}, False),
    ],
)
def test_who_gets_a_page(client, headers, is_page):
    """Only who names HTML, likes it no less than JSON, and is no script of a page."""
    answer = client.get("/nope", headers=headers)
    assert answer.headers["Content-Type"].startswith("text/html") == is_page


def test_only_reading_is_answered_with_a_page(client):
    """What is sent by a form or a program that writes gets problem details, whatever it accepts."""
    answer = client.post("/search", json={"top_k": 0}, headers={"Accept": BROWSER})
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_what_was_asked_for_stays_text(client):
    """Markup and placeholders in an address are shown and never take effect."""
    page = client.get("/<img src=x>{{ root }}", headers={"Accept": BROWSER}).text
    assert "<img src=x>" not in page
    assert "&#123;&#123; root }}" in page


def test_errors_of_libraries_are_pages_too(built_data):
    """What a library answers in plain text becomes one page for a browser and JSON for a program; both say what they vary by."""
    with TestClient(create_app(ServiceSettings(data=built_data, cors="https://example.com"))) as allowing:
        asked = {"Range": "bytes=abc", "Origin": "https://example.com"}
        page, problem = (allowing.get("/", headers={**asked, "Accept": accept}) for accept in (BROWSER, "*/*"))
    assert page.status_code == problem.status_code == 400
    assert page.text.count("<!doctype html>") == 1
    assert problem.json()["detail"] in html.unescape(page.text)
    for answer in (page, problem):
        assert {"Accept", "Sec-Fetch-Mode", "Origin"} <= {each.strip() for each in answer.headers["Vary"].split(",")}
