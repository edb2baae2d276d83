"""Results that look like results: links, pictures, prices, dates, yes and no, lists; clicks; the first screen's examples."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

SQUARE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9" fill="red"/></svg>'


class Pictures(BaseHTTPRequestHandler):
    """Answers with a picture, and with what is none where the path says so: of a 404 the browser would complain."""

    def do_GET(self):
        """Answer a GET."""
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "image/svg+xml")
        self.end_headers()
        self.wfile.write(b"none" if "missing" in self.path else SQUARE)

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture(scope="module")
def pictures():
    """A server of pictures."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def shop(host: str) -> dict[str, list[object]]:
    """Return four products."""
    return {
        "id": ["lamp", "kettle", "chair", "evil"],
        "title": ["Red lamp", "Tea kettle", "Office chair", "Odd thing"],
        "text": ["A red lamp.", "A kettle for tea.", "A chair for the office.", "A thing that is odd."],
        "price": [19.5, 1204.0, 80.0, 1.0],
        "Verkaufspreis": [20.5, 1300.0, 90.0, 2.0],
        "currency": ["EUR", "EUR", None, "not a currency"],
        "in_stock": [True, False, True, True],
        "released": [date(2025, 8, 30), None, date(1999, 1, 1), date(2000, 2, 29)],
        "seen": [datetime(2025, 8, 30, 14, 5, tzinfo=UTC), None, None, None],
        "tags": [["home", "light"], [], ["office"], None],
        "manual": ["https://shop.example/manual.pdf?a=1", None, None, "data:text/html,<script>alert(1)</script>"],
        "url": ["https://shop.example/lamp", "http://shop.example/kettle", None, "javascript:alert(1)"],
        "image": [f"{host}/lamp", f"{host}/missing", "https://elsewhere.example/chair.png", "javascript:alert(1)"],
    }


@pytest.fixture(scope="module")
def shop_service(tmp_path_factory, tiny_data, publish, start_module_service, pictures):
    """The URL of a service over the products, which shows pictures of one server and takes clicks."""
    import shutil

    data = tmp_path_factory.mktemp("shop") / "data"
    shutil.copytree(tiny_data, data)
    host = f"http://127.0.0.1:{pictures.server_port}"
    publish(shop(host), data)
    return start_module_service(data, "--image-sources", host, "--clicks", "--query-log").url, data, host


def result(page, name):
    """Return a result by its title."""
    return page.locator("#results .hit").filter(has=page.get_by_role("heading", name=name))


def meta(page, name):
    """Return the metadata that a result shows, as a mapping."""
    return dict(
        result(page, name)
        .locator(".meta div:not(.is-long)")
        .evaluate_all(
            "all => all.map(each => [each.querySelector('dt').textContent, each.querySelector('dd').innerText])"
        )
    )


def open_shop(open_page, service, query="A", **options):
    """Open the results of a query that all products match by meaning."""
    page = open_page(f"/?q={query}&mode=dense", url=service[0], **options)
    expect(page.locator("#results .hit")).to_have_count(4)
    return page


def test_values_are_shown_as_people_read_them(open_page, shop_service):
    """Prices have two decimals and their currency, dates are words, booleans yes or no, lists single values."""
    page = open_shop(open_page, shop_service)
    shown = meta(page, "Red lamp")
    assert shown["Price"] == "€19.50"
    assert shown["In stock"] == "yes"
    assert shown["Released"] == "August 30, 2025"
    assert shown["Seen"].startswith("August 30, 2025")
    assert result(page, "Red lamp").locator(".item").all_inner_texts() == ["home", "light"]
    assert "Currency" not in shown and "Url" not in shown and "Image" not in shown
    shown = meta(page, "Tea kettle")
    assert (shown["Price"], shown["In stock"]) == ("€1,204.00", "no")
    assert shown["Verkaufspreis"] == "€1,300.00"
    assert meta(page, "Office chair")["Price"] == "80.00"
    assert meta(page, "Odd thing")["Price"] == "1.00"
    assert meta(page, "Odd thing")["Released"] == "February 29, 2000"
    expect(page.get_by_role("checkbox", name="yes")).to_be_visible()


def test_dates_and_prices_are_in_the_language_of_the_reader(browser, shop_service):
    """A reader whose browser is German reads German dates and numbers."""
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(f"{shop_service[0]}/?q=lamp")
    expect(result(page, "Red lamp")).to_be_visible()
    shown = meta(page, "Red lamp")
    assert shown["Released"] == "30. August 2025"
    assert shown["Price"].replace("\xa0", " ") == "19,50 €"
    expect(result(page, "Red lamp").locator("time").first).to_have_attribute("lang", "de-DE")
    context.close()


def test_only_addresses_of_the_web_become_links(open_page, shop_service):
    """Titles lead to the column `url`, other addresses are links; scripts and data are text, and no window is handed on."""
    page = open_shop(open_page, shop_service)
    links = page.locator("#results h3 a, #results div:not(.is-long) > dd a").evaluate_all(
        "all => all.map(a => [a.textContent, a.href, a.rel])"
    )
    assert sorted(links) == [
        ["Red lamp", "https://shop.example/lamp", "noopener noreferrer"],
        ["Tea kettle", "http://shop.example/kettle", "noopener noreferrer"],
        ["elsewhere.example/chair.png", "https://elsewhere.example/chair.png", "noopener noreferrer"],
        ["shop.example/manual.pdf?a=1", "https://shop.example/manual.pdf?a=1", "noopener noreferrer"],
    ]
    assert meta(page, "Odd thing")["Url"] == "javascript:alert(1)"


def test_pictures_come_from_where_the_operator_allows(browser, shop_service, pictures):
    """A picture has a fixed size and a text; one that is missing goes away; one from elsewhere is not asked for."""
    pictures.asked.clear()
    context = browser.new_context()
    page = context.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.goto(f"{shop_service[0]}/?q=A&mode=dense")
    picture = page.get_by_role("img", name="Picture of Red lamp")
    expect(picture).to_have_js_property("naturalWidth", 150)
    box = picture.bounding_box()
    assert box["width"] == box["height"] == 96
    expect(page.locator("#results img")).to_have_count(1)
    assert set(pictures.asked) == {"/lamp", "/missing"}
    assert refused == []
    context.close()


def test_without_the_setting_no_picture_is_asked_for(open_page, shop_service, start_service, pictures):
    """By default nobody's browser asks another host: the policy has none, and the address is a link."""
    _, data, host = shop_service
    pictures.asked.clear()
    running = start_service(data)
    page = open_shop(open_page, (running.url,))
    assert page.locator("#results img").count() == 0
    assert meta(page, "Red lamp")["Image"] == f"{host}/lamp".removeprefix("http://")
    assert pictures.asked == []


def test_clicks_go_to_feedback(open_page, shop_service, eventually):
    """What is opened, here by a key, is told with its rank, although the page is left at once."""
    _, data, _ = shop_service
    page = open_shop(open_page, shop_service, query="lamp")
    page.route("**://shop.example/**", lambda route: route.fulfill(body="the shop"))
    rank = int(result(page, "Red lamp").locator(".rank").inner_text())
    log = data / "live" / "feedback.jsonl"
    result(page, "Red lamp").focus()
    page.keyboard.press("o")
    expect(page.get_by_text("the shop")).to_be_visible()
    eventually(log.is_file, "the click is stored, though the page was left")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["query"], line["document"], line["rank"], line["grade"]) for line in lines] == [
        ("lamp", "lamp", rank, None)
    ]


def test_without_the_setting_nothing_is_told(open_page, shop_service, start_service):
    """An operator who has not allowed it gets no clicks: the page sends none."""
    running = start_service(shop_service[1])
    page = open_shop(open_page, (running.url,))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**://shop.example/**", lambda route: route.fulfill(body="the shop"))
    result(page, "Red lamp").get_by_role("link", name="Red lamp").click()
    expect(page.get_by_text("the shop")).to_be_visible()
    assert [url for url in asked if "feedback" in url] == []


def test_examples_lead_to_results(open_page):
    """The first screen offers queries that the corpus answers: a click searches, and finds something."""
    page = open_page()
    examples = page.get_by_role("navigation", name="Examples").get_by_role("link")
    expect(examples).to_have_count(3)
    query = examples.first.inner_text()
    examples.first.click()
    expect(page.get_by_role("searchbox")).to_have_value(query)
    expect(page.locator("#results .hit").first).to_be_visible()
    page.go_back()
    expect(examples.first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_results(open_page, shop_service, scheme):
    """Results with links, lists and the like are usable with a screen reader, also on a phone, in both schemes."""
    page = open_shop(open_page, shop_service, query="office", scheme=scheme, width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == []
