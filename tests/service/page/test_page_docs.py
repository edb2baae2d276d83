"""The API documentation in a real Chromium: its colours, its examples, and answers with long whole numbers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

LONG = 2**63 - 1


@pytest.fixture(scope="module")
def numbers(serve_columns, start_module_service):
    """The URL of the real program over documents with a long whole number."""
    columns = {"id": ["a", "b"], "text": ["The kettle whistles.", "The lamp glows."], "n": [LONG, 3]}
    return start_module_service(serve_columns(columns)).url


def execute(page, operation):
    """Opens an operation, sends its example as it is, and returns the live response."""
    block = page.locator(f"#operations-{operation}")
    block.click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response").first


def test_an_example_is_sent_as_it_is(open_page, numbers):
    """«Try it out» gets an answer at once, with every digit of a whole number."""
    page = open_page("/docs", url=numbers)
    answer = execute(page, "search-search")
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(answer.locator(".response-col_description pre").first).to_contain_text(f'"n": {LONG}')


def test_dark_is_dark(open_page, numbers):
    """With a dark scheme the page, the shown markup and the label above the examples are readable."""
    page = open_page("/docs", url=numbers, scheme="dark")
    page.locator("#operations-search-search").click()
    label = page.locator(".examples-select__section-label").first
    expect(label).to_be_visible()
    style = "node => [getComputedStyle(node).color, getComputedStyle(document.body).backgroundColor].map(c => Math.max(...c.match(/[0-9]+/g).slice(0, 3)))"
    ink, _ = label.evaluate(style)
    paper = page.evaluate(
        "Math.max(...getComputedStyle(document.documentElement).backgroundColor.match(/[0-9]+/g).slice(0, 3))"
    )
    assert ink > 180
    assert paper < 80
