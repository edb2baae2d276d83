"""The page lists documents before anything is asked, sorts them, and counts what a query finds."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

COUNT = 25
KINDS = ["lamp", "kettle", "chair"]
SHOP = {
    "id": [f"item-{number:02}" for number in range(COUNT)],
    "title": [f"{KINDS[number % 3]} {number}" for number in range(COUNT)],
    "text": [f"The {'cat' if number < 6 else 'dog'} sleeps beside it in the garden." for number in range(COUNT)],
    "kind": [KINDS[number % 3] for number in range(COUNT)],
    "price": [float(number * 7 % COUNT) for number in range(COUNT)],
}


@pytest.fixture(scope="module")
def shop(serve_columns, start_module_service):
    """The URL of the real program over a small shop."""
    return start_module_service(serve_columns(SHOP)).url


def ids(page):
    """The ids of the results that are shown."""
    return page.locator("#results .id").all_inner_texts()


def by_price(*, descending=False):
    """All ids by price."""
    rows = sorted(range(COUNT), key=lambda row: SHOP["price"][row], reverse=descending)
    return [SHOP["id"][row] for row in rows]


def test_the_first_screen_lists_documents(open_page, shop):
    """Before anything is asked there are documents, facets over all of them, and neither scores nor a best match."""
    page = open_page("/", url=shop)
    expect(page.get_by_role("heading", name=f"Search {COUNT} documents")).to_be_visible()
    expect(page.locator("#results .hit")).to_have_count(10)
    assert ids(page) == SHOP["id"][:10]
    expect(page.locator("#results .score:visible")).to_have_count(0)
    expect(page.locator("#results .best:visible")).to_have_count(0)
    expect(page.get_by_role("group", name="Kind").locator("li").first).to_contain_text("9")
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == []
    page.get_by_role("button", name="More results").click()
    expect(page.locator("#results .hit")).to_have_count(20)
    assert ids(page) == SHOP["id"][:20]


def test_an_order_is_chosen_and_stays_in_the_link(open_page, shop):
    """The choice of the order lists all documents in it, a query's results too; the URL and Back know it."""
    page = open_page("/", url=shop)
    order = page.get_by_label("Sort by")
    order.select_option("Price: high to low")
    expect(page.locator("#results .id").first).to_have_text(by_price(descending=True)[0])
    assert ids(page) == by_price(descending=True)[:10]
    expect(page.get_by_role("status")).to_contain_text(f"10 of {COUNT} documents")
    assert parse_qs(urlsplit(page.url).query) == {"sort": ["-price"]}
    page.reload()
    expect(order).to_have_value("-price")
    expect(page.locator("#results .id").first).to_have_text(by_price(descending=True)[0])
    page.get_by_role("searchbox").fill("cat")
    page.get_by_role("radio", name="Words").check(force=True)
    expect(page.locator("#results .hit")).to_have_count(6)
    cats = [name for name in by_price(descending=True) if name in SHOP["id"][:6]]
    expect(page.locator("#results .id").first).to_have_text(cats[0])
    assert ids(page) == cats
    expect(page.locator("#results .best:visible")).to_have_count(0)  # the first one is the dearest
    expect(page.locator("#results .score:visible")).to_have_count(6)
    with page.expect_request(lambda request: '"varied"' in request.url or "search" in request.url) as asked:
        page.get_by_role("checkbox", name="Varied").check()
    assert "diversity" not in (asked.value.post_data or "")  # the order alone decides


def test_the_arrows_of_the_choice_are_its_own(open_page, shop):
    """With the keyboard in the choice of the order, the arrows choose and do not leave for the results."""
    page = open_page("/", url=shop)
    expect(page.locator("#results .hit").first).to_be_visible()
    page.get_by_label("Sort by").focus()
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile("sort=price"))
    expect(page.locator("#results .id").first).to_have_text(by_price()[0])


def test_counts_follow_the_query(open_page, shop):
    """With a query the boxes count what it finds; without one they count everything again."""
    page = open_page("/?q=cat&mode=lexical", url=shop)
    boxes = page.get_by_role("group", name="Kind").locator("li")
    expect(boxes.filter(has_text="lamp")).to_contain_text("2")
    expect(boxes.filter(has_text="chair")).to_contain_text("2")
    page.get_by_role("searchbox").fill("")
    expect(boxes.filter(has_text="lamp")).to_contain_text("9")


def test_a_wrong_order_of_a_link_can_be_taken_back(open_page, shop):
    """A link with an order by a column that is gone says what is wrong, and one click shows the documents."""
    page = open_page("/", url=shop)
    expect(page.locator("#results .hit").first).to_be_visible()
    page.evaluate(
        """() => { const real = window.fetch; window.fetch = async (path, options) => {
        if (!options?.body?.includes("colour")) return real(path, options);
        const body = { title: "Invalid request", status: 422, detail: "There is no field 'colour'" };
        return new Response(JSON.stringify(body), { status: 422 }); };
        history.pushState({}, "", "?sort=colour"); dispatchEvent(new PopStateEvent("popstate", { state: {} })); }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("There is no field 'colour'")
    page.get_by_role("button", name="Remove the filters").click()
    expect(page.locator("#results .hit")).to_have_count(10)
    assert urlsplit(page.url).query == ""
