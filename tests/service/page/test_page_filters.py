"""The filters beside the results in a real Chromium: boxes, sliders, dates and the map, against the real program."""

import datetime as dt
import re
from math import asin, cos, radians, sin, sqrt
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

KINDS = ["cabin", "cabin", "flat", "villa"]
HOMES = [
    {
        "id": f"home-{number:02}",
        "title": f"Home {number}",
        "text": f"🏡🌊 A quiet garden by the river, number {number}. The dog sleeps. A cat sits in the garden.",
        "kind": KINDS[number % 4],
        "pets": number % 3 == 0,
        "tags": ["sea", "wifi"] if number % 2 else ["wifi"],
        "guests": 1 + number % 8,
        "price": 20.0 + 7 * number,
        "note": f"Nobody else has this note, which is number {number}.",
        "built": f"20{10 + number % 10}-06-15",
        "lat": 39.8 + 0.01 * (number % 6),
        "lng": 3.8 + 0.02 * number,
    }
    for number in range(24)
]


@pytest.fixture(scope="module")
def homes(serve_columns, start_module_service):
    """The URL of the real program over two dozen homes with every kind of column."""
    rows = [{**home, "built": dt.date.fromisoformat(home["built"])} for home in HOMES]
    return start_module_service(serve_columns({name: [row[name] for row in rows] for name in HOMES[0]})).url


@pytest.fixture
def open_homes(open_page, homes):
    """Opens a search for a garden, and waits for the filters beside it."""

    def open_(query="?q=garden&mode=dense", **options):
        page = open_page(f"/{query}", url=homes, **options)
        expect(page.locator("#facets .facet").first).to_be_attached()
        return page

    return open_


def status(page):
    """What the page says of its results."""
    return page.get_by_role("status")


def found(page):
    """The ids of the results that are shown."""
    return page.locator("#results .id").all_inner_texts()


def params(page):
    """The parameters of the page's URL."""
    return parse_qs(urlsplit(page.url).query, keep_blank_values=True)


def counts(page, group):
    """The values of a group of boxes with their counts."""
    labels = page.get_by_role("group", name=group).locator("li:visible").all_inner_texts()
    return {name: int(number) for name, number in (re.split(r"\s*\n\s*", label.strip()) for label in labels)}


def test_a_box_narrows_the_results_and_back_widens_them(open_homes):
    """Boxes of one column add up, their own counts stay, other columns' follow; the URL and Back know each step."""
    page = open_homes()
    assert counts(page, "Kind") == {"cabin": 12, "flat": 6, "villa": 6}
    page.get_by_role("checkbox", name="villa").check()
    expect(status(page)).to_contain_text("6 of 6 filtered documents")
    assert {home["kind"] for home in HOMES if home["id"] in found(page)} == {"villa"}
    page.get_by_role("checkbox", name="flat").check()
    expect(status(page)).to_contain_text("10 of 12 filtered documents")
    assert params(page)["choose.kind"] == ["flat", "villa"]
    expect(page.get_by_role("group", name="Pets").locator("li").first).to_contain_text("8")
    assert counts(page, "Kind") == {"cabin": 12, "flat": 6, "villa": 6}
    assert counts(page, "Pets") == {"no": 8, "yes": 4}
    page.get_by_role("checkbox", name="yes").check()
    expect(status(page)).to_contain_text("4 of 4 filtered documents")
    page.reload()
    expect(status(page)).to_contain_text("4 of 4 filtered documents")
    expect(page.get_by_role("checkbox", name="yes")).to_be_checked()
    page.go_back()
    expect(status(page)).to_contain_text("10 of 12 filtered documents")
    expect(page.get_by_role("checkbox", name="yes")).not_to_be_checked()
    page.get_by_role("button", name="Remove the filter Kind: flat").click()
    expect(status(page)).to_contain_text("6 of 6 filtered documents")
    expect(page.get_by_role("checkbox", name="flat")).not_to_be_checked()


def test_only_what_can_be_chosen_from_is_offered(open_homes):
    """A text of which each document has its own is no filter; lists count each of their values."""
    page = open_homes()
    headings = page.locator("#facets summary").all_inner_texts()
    assert [heading.strip() for heading in headings] == ["Kind", "Pets", "Tags", "Guests", "Price", "Built"]
    assert counts(page, "Tags") == {"wifi": 24, "sea": 12}


def test_a_slider_is_moved_by_keys(open_homes):
    """Both handles of a slider are moved by arrows, say their value, narrow the results and are kept in the URL."""
    page = open_homes()
    low, high = (page.get_by_role("slider", name=f"Guests, at {end}") for end in ("least", "most"))
    low.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(low).to_have_attribute("aria-valuetext", "3")
    high.focus()
    page.keyboard.press("Home")  # not below the other
    expect(high).to_have_attribute("aria-valuetext", "3")
    page.keyboard.press("ArrowRight")
    expect(status(page)).to_contain_text("6 of 6 filtered documents")
    assert {home["guests"] for home in HOMES if home["id"] in found(page)} == {3, 4}
    assert (params(page)["from.guests"], params(page)["to.guests"]) == (["3"], ["4"])
    page.reload()
    expect(low).to_have_attribute("aria-valuetext", "3")
    expect(high).to_have_attribute("aria-valuetext", "4")
    page.get_by_role("button", name="Remove the filter Guests 3 – 4").click()
    expect(status(page)).to_contain_text("10 of 24 documents")
    expect(high).to_have_attribute("aria-valuetext", "8")


def test_a_last_day_counts(open_homes):
    """Dates from a day to a day let both days pass."""
    page = open_homes()
    page.locator("#facets summary", has_text="Built").click()
    page.get_by_label("From").fill("2012-06-15")
    page.get_by_label("To", exact=True).fill("2013-06-15")
    expect(status(page)).to_contain_text(re.compile("^[0-9]+ of 6 filtered"))
    assert {home["built"][:4] for home in HOMES if home["id"] in found(page)} == {"2012", "2013"}


def test_the_circle_on_the_map_is_a_filter(open_homes):
    """Keys move the map and Enter searches in its circle: all results are then in it, and it can be removed."""
    page = open_homes()
    expect(page.locator("#map .dot")).to_have_count(24)
    page.get_by_role("application").focus()
    for key in ("+", "+", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    expect(status(page)).to_contain_text("filtered documents")
    lat, lon, km = map(float, params(page)["near"][0].split(","))

    def inside(home):
        step = sin(radians(home["lat"] - lat) / 2) ** 2
        step += cos(radians(lat)) * cos(radians(home["lat"])) * sin(radians(home["lng"] - lon) / 2) ** 2
        return 2 * 6371.0088 * asin(sqrt(step)) <= km

    inner = {home["id"] for home in HOMES if inside(home)}
    assert 0 < len(inner) < 24
    expect(status(page)).to_contain_text(f"of {len(inner)} filtered document")
    assert set(found(page)) <= inner
    page.get_by_role("button", name="Search everywhere").click()
    expect(status(page)).to_contain_text("10 of 24 documents")
    assert "near" not in params(page)


def test_the_page_marks_words_in_texts_with_characters_of_two_units(open_homes):
    """Offsets are code points: behind emoji, the marked piece is still the word."""
    page = open_homes("?q=river")
    marks = page.locator("#results .is-best .text mark")
    expect(marks.first).to_have_text("river")
    expect(page.locator("#results .is-best .near")).to_have_count(1)


def test_similar_documents_pass_the_filters(open_homes):
    """Who looks for similar homes under a filter finds only those that pass it; a box widens them again."""
    page = open_homes("?q=garden&mode=dense&choose.kind=villa")
    expect(status(page)).to_contain_text("6 of 6 filtered documents")
    page.get_by_role("button", name="Similar").first.click()
    expect(page.locator("#heading")).to_be_visible()
    expect(status(page)).to_contain_text("5 filtered documents")
    assert {home["kind"] for home in HOMES if home["id"] in found(page)} == {"villa"}
    page.get_by_role("checkbox", name="villa").uncheck()
    expect(page.locator("#results .hit")).to_have_count(10)
    expect(page.locator("#heading")).to_be_visible()


def test_a_wrong_link_offers_a_way_out(open_page, homes):
    """A link with a column that the index lacks shows what is wrong, and one button removes the filters."""
    page = open_page("/", url=homes)
    page.evaluate(
        """() => { const real = window.fetch; window.fetch = async (path, options) => {
        const answer = await real(path, { ...options, body: options.body?.replace('"colour"', '"kind"') });
        if (!options.body?.includes('"colour"')) return answer;
        return new Response(JSON.stringify({ title: "No", detail: "There is no field 'colour'", status: 422 }), { status: 422 }); }; }"""
    )
    page.evaluate(
        "history.pushState({}, '', '/?q=cat&choose.colour=red'), dispatchEvent(new PopStateEvent('popstate'))"
    )
    expect(page.get_by_role("alert")).to_contain_text("There is no field 'colour'")
    page.get_by_role("button", name="Remove the filters").click()
    expect(page.locator("#results .hit").first).to_be_visible()
    assert params(page) == {"q": ["cat"]}


def test_a_phone_unfolds_the_filters(open_homes):
    """On a phone the filters are collapsed until they are opened, and nothing is wider than the screen."""
    page = open_homes("?q=garden&choose.kind=villa", width=390, height=844)
    box = page.get_by_role("checkbox", name="flat")
    expect(box).to_be_hidden()
    page.get_by_role("button", name="Filters (1)").click()
    box.check()
    expect(status(page)).to_contain_text("10 of 12 filtered documents")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    page.get_by_role("button", name="Show results").click()
    expect(box).to_be_hidden()


def test_long_whole_numbers_are_filtered_exactly(open_page, serve_columns, start_module_service):
    """A handle between numbers that a double cannot tell apart filters by just this number, and the boxes count what is left."""
    numbers = [2**53 + 1 + number for number in range(12)]
    columns = {
        "id": [f"n{number}" for number in range(12)],
        "text": ["The dog sleeps in the garden."] * 12,
        "n": numbers,
        "half": [["first", "second"][number // 6] for number in range(12)],
        "raw": [[b"x"]] * 12,  # the API counts no bytes; this column takes the filters of the others away from nobody
    }
    page = open_page("/?q=garden", url=start_module_service(serve_columns(columns)).url)
    low = page.get_by_role("slider", name="N, at least")
    expect(low).to_have_attribute("aria-valuetext", f"{numbers[0]:,}")
    low.focus()
    for _ in range(3):
        low.press("ArrowRight")
    expect(status(page)).to_contain_text("9 of 9 filtered documents")
    expect(page.locator(".facet", has_text="Half")).to_contain_text(re.compile(r"first\s*3"))
    assert params(page)["from.n"] == [str(numbers[3])]
    assert sorted(found(page) or page.locator("#results .title").all_inner_texts()) == sorted(columns["id"][3:])
