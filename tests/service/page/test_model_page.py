"""The page «how it reads» in a real Chromium, against the real program with a tiny BERT that has learned something."""

import re
import shutil
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

SEVERAL = "#text=The+capital+of+Portugal+is+Lisbon.&hide=3,5&layer=2&head=2"


@pytest.fixture
def open_model(open_page, reading_service):
    """Opens the page, and waits until it has read its sentence."""

    def open_(hash_="", **options):
        page = open_page(f"/model{hash_}", url=reading_service, **options)
        expect(page.locator("#words .word").first).to_be_visible()
        return page

    return open_


def word(page, surface):
    """Return the button that hides a word."""
    return page.get_by_role("button", name=f"Hide “{surface}”")


def bars(page, heading):
    """Return the bars under the heading of a guess as (name, value)."""
    guess = page.locator(".guess").filter(has=page.get_by_role("heading", name=heading, exact=True))
    expect(guess).to_have_count(1)
    return [tuple(item.split("\n")) for item in guess.locator("li").all_inner_texts()]


def state(page):
    """Return what the page's hash says."""
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).fragment).items()}


def test_a_word_that_is_clicked_is_guessed(open_model):
    """A click hides a word: its predictions appear with their probabilities as bars; a second click shows it again."""
    page = open_model()
    expect(page.locator(".guess")).to_have_count(0)
    word(page, "Paris").click()
    expect(word(page, "Paris")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".guess")).to_have_count(1)
    found = bars(page, "In place of “Paris”")
    assert len(found) == 8
    assert found[0][0] == "paris" and re.fullmatch(r"\d\d %", found[0][1])
    widths = page.locator(".guess .bar i").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True) and widths[0] > 2 * widths[1]
    expect(page.locator(".guess .is-own .name")).to_have_text("paris")
    expect(page.get_by_text(re.compile(r"^Entropy \d\.\d\d nats: a choice among .* pieces, of 48\.$"))).to_be_visible()
    assert state(page) == {"hide": "5"}
    word(page, "Paris").click()
    expect(page.locator(".guess")).to_have_count(0)
    assert state(page) == {}


def test_a_link_shows_the_same(open_model):
    """The sentence, its hidden words, the head and the two sentences come from the URL."""
    page = open_model(SEVERAL + "&first=A+river.&second=The+river.")
    expect(page.get_by_label("A sentence")).to_have_value("The capital of Portugal is Lisbon.")
    assert bars(page, "In place of “Lisbon”, piece 1 of 2")[0][0] == "lis"
    expect(page.locator(".guess")).to_have_count(4)
    expect(page.get_by_label("Layer")).to_have_value("2")
    expect(page.get_by_label("Head")).to_have_value("2")
    expect(page.locator("#shared li")).to_have_count(1)
    expect(page.locator("#shared .name")).to_have_text("river")


def test_the_keyboard_hides_a_word_and_keeps_its_place(open_model):
    """Tab reaches the words, Enter masks one, the focus stays on it, and a screen reader gets the candidates."""
    page = open_model()
    page.get_by_label("A sentence").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(word(page, "France")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".guess")).to_have_count(1)
    expect(word(page, "France")).to_be_focused()
    expect(page.locator("#told")).to_have_text(re.compile(r"^Most probable: france \d+ %$"))


def test_typing_reads_the_new_sentence(open_model):
    """What is typed is read; words that were hidden are shown again, and a [MASK] in the text is filled."""
    page = open_model("#hide=5")
    expect(page.locator(".guess")).to_have_count(1)
    page.get_by_label("A sentence").fill("He sat on the [MASK] of the river.")
    expect(page.get_by_role("heading", name="In place of [MASK]")).to_be_visible()
    assert bars(page, "In place of [MASK]")[0][0] == "bank"
    assert state(page) == {"text": "He sat on the [MASK] of the river."}
    page.get_by_label("A sentence").fill("  ")
    expect(page.locator("#words")).to_be_hidden()
    expect(page.locator("#attention")).to_be_hidden()


def test_markup_in_a_sentence_stays_text(open_model):
    """Markup that is typed is shown as it is written."""
    page = open_model()
    page.get_by_label("A sentence").fill("<img src=x onerror=alert(1)> bank")
    expect(word(page, "onerror")).to_be_visible()
    assert page.locator("main img").count() == 0


def test_the_attention_of_a_head_can_be_walked_through(open_model):
    """An attention map has a cell for each two pieces; hover and keys show its value; a choice changes the map."""
    page = open_model()
    cells = page.get_by_role("gridcell", name=re.compile(r"takes .* from"))
    expect(cells).to_have_count(9 * 9)
    rows = page.locator("#heat td[tabindex]")
    said = [
        float(re.search(r"takes ([\d.]+) %", text)[1]) for text in rows.evaluate_all("a => a.map(c => c.ariaLabel)")
    ]
    assert all(95 <= sum(said[start : start + 9]) <= 105 for start in range(0, 81, 9))
    look = page.locator("#look")
    cells.nth(12).hover()
    expect(look).to_have_text(re.compile(r"^“the” takes [\d.]+ % from “of”$"))
    rows.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(rows.nth(10)).to_be_focused()
    expect(look).to_have_text(re.compile(r"^“the” takes [\d.]+ % from “the”$"))
    page.get_by_label("Head").select_option("2")
    expect(rows.nth(0)).not_to_have_attribute("aria-label", f"“[CLS]” takes {said[0]} % from “[CLS]”")
    assert state(page) == {"head": "2"}


def test_one_word_in_two_sentences(open_model):
    """The words of both sentences stand with the cosine of their two vectors, beside the cosine of the sentences."""
    page = open_model()
    names = page.locator("#shared .name")
    expect(names).to_have_text(["the", "bank"])
    values = [float(text.replace("−", "-")) for text in page.locator("#shared .value").all_inner_texts()]
    assert all(-1 <= value < 0.99 for value in values)
    expect(page.locator("#sentences .value")).to_have_text(re.compile(r"^−?[01]\.\d\d$"))
    page.get_by_label("Second sentence").fill("He sat on the bank of the river.")
    expect(page.locator("#shared .value")).to_have_text(["1.00"] * 7)
    expect(page.locator("#sentences .value")).to_have_text("1.00")
    page.get_by_label("Second sentence").fill("Money!")
    expect(page.get_by_text("The two sentences have no word in common.")).to_be_visible()


def test_it_says_what_is_missing_and_shows_the_rest(open_page, data, publish, masked_data, start_service):
    """Without a masked-language model the page names the command, still compares sentences, and looks again on request."""
    publish({"id": ["a"], "text": ["The cat sits."]}, data)
    service = start_service(data, "--poll-seconds", "0.05")
    page = open_page("/model", url=service.url)
    expect(page.get_by_role("heading", name="Not everything can be shown yet")).to_be_visible()
    expect(page.locator("#missing code").first).to_have_text("python -m trainer publish-mlm DIR")
    expect(page.locator("#reading")).to_be_hidden()
    expect(page.locator("#sentences .value")).to_have_text(re.compile(r"^−?[01]\.\d\d$"))
    expect(page.locator("#shared")).to_be_hidden()
    shutil.copytree(masked_data / "masked", data / "coming").rename(data / "masked")  # there at once, as published
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Look again").click()
    expect(word(page, "Paris")).to_be_visible()
    expect(page.locator("#missing")).to_be_hidden()
    expect(page.locator("#shared li")).to_have_count(2)


def test_a_problem_is_shown_and_can_be_retried(open_model):
    """A question that fails is answered by its problem in place of an old answer; a retry that succeeds replaces it."""
    page = open_model()
    problem = {"title": "No luck", "status": 500, "detail": "Run `dowse` first.", "request_id": "r-1"}
    # As for the search page: the browser itself must not see a failed request, which it would complain about.
    page.evaluate(
        """problem => { const real = window.fetch; window.fetch = async () => { window.fetch = real;
        return new Response(JSON.stringify(problem), { status: problem.status }); }; }""",
        problem,
    )
    word(page, "Paris").click()
    alert = page.get_by_role("alert").filter(has_text="No luck")
    expect(alert.locator("code")).to_have_text("dowse")
    expect(alert).to_contain_text("Request r-1")
    expect(page.locator("#words")).to_be_hidden()
    alert.get_by_role("button", name="Try again").click()
    assert bars(page, "In place of “Paris”")[0][0] == "paris"
    expect(alert).to_be_hidden()


def test_a_narrow_phone_does_not_scroll_sideways(open_model):
    """At 360 pixels the page is no wider than the screen, in either scheme; the map scrolls by itself."""
    backgrounds = []
    for scheme in ("light", "dark"):
        page = open_model(SEVERAL, width=360, height=740, scheme=scheme)
        expect(page.locator(".guess")).to_have_count(4)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        backgrounds.append(page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]


def test_the_two_pages_lead_to_each_other(open_page, reading_service):
    """The search page's footer links to this page, and this one back."""
    page = open_page("/", url=reading_service)
    page.get_by_role("link", name="How it reads").click()
    expect(page.get_by_role("heading", name="How it reads")).to_be_visible()
    page.get_by_role("link", name="← Search").click()
    expect(page.get_by_role("searchbox")).to_be_focused()
