"""The report: `report.json` holds the figures, `report.html` shows them without scripts or network access."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from example_report import example_report
from pydantic import ValidationError

from trainer.evaluate.groups import biggest_changes, group, separation
from trainer.evaluate.metrics import METRICS, per_query
from trainer.evaluate.report import (
    ALL,
    UNSEEN,
    BaseModelFacts,
    CorpusFacts,
    Curves,
    QueryChange,
    Report,
    Rung,
    Shown,
    TunedModelFacts,
    Weights,
    read_report,
    shorten,
)
from trainer.evaluate.significance import paired
from trainer.reports.page import interval, p_value, signed, value
from trainer.reports.plots import short, tick
from trainer.reports.run_page import report_page, write_report

EVIL = '<script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)> & "quoted" \' </svg></style>'


class Elements(HTMLParser):
    """Collects the tags with their attributes, and the text, of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Keep a tag with its attributes."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Keep a piece of text."""
        self.text += data


@pytest.fixture(scope="module")
def report():
    """The report of a WIN."""
    return example_report()


@pytest.fixture(scope="module")
def page(report):
    """Its page."""
    return report_page(report)


@pytest.fixture(scope="module")
def evil():
    """The page of a report in which every text from outside is an attack."""
    shown = Shown(id=EVIL, title=EVIL, text=EVIL)
    change = QueryChange(
        query_id=EVIL, query=EVIL, before=0, after=1, wanted=[shown], found_before=shown, found_after=None
    )
    return report_page(
        example_report(
            queries=20,
            unseen=10,
            reasons=[EVIL],
            notes=[EVIL],
            corpus=CorpusFacts(name=EVIL, documents=1, passages=1, language=EVIL),
            base=BaseModelFacts(id=EVIL, name=EVIL),
            tuned=TunedModelFacts(name=EVIL, recipe={EVIL: [EVIL]}, rungs=[Rung(name=EVIL, kept=True, seconds=1)]),
            settings={EVIL: {EVIL: EVIL}},
            seconds={EVIL: 1.0},
            fusion=Weights(base=0.5, tuned=0.5, how=EVIL),
            curves=Curves.model_validate(
                {"dev": [{"at": EVIL, "value": 0.1}, {"at": "$x_$", "value": 0.2}], "dev_measure": EVIL}
            ),
            gains=[change],
            losses=[change],
        )
    )


def test_the_files_hold_the_report(report, tmp_path):
    """Reading `report.json` gives the same report; the page is the only file beside it."""
    write_report(report, tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.json", "report.html"}
    assert read_report(tmp_path / "report") == report
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report.model_dump(mode="json")
    assert (tmp_path / "report" / "report.html").read_text() == report_page(report)


def test_a_report_that_cannot_be_drawn_leaves_the_old_one(report, tmp_path, monkeypatch):
    """Where writing fails, the files of the earlier report are unchanged."""
    write_report(report, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("trainer.reports.run_page.report_page", lambda _report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(example_report(verdict="LOSS"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "wrong", [{"verdict": "MAYBE"}, {"unknown": 1}, {"format": 2}, {"groups": {}}, {"judged_by": "feeling"}]
)
def test_what_is_no_report_is_refused(report, wrong):
    """An unknown field, verdict or format is refused."""
    with pytest.raises(ValidationError):
        Report.model_validate(report.model_dump() | wrong)


def test_nan_is_refused():
    """NaN, which JSON does not have, is refused when the report is built."""
    with pytest.raises(ValidationError):
        Weights(base=float("nan"), tuned=0.5, how="measured")


def test_the_page_loads_nothing(page):
    """The page works without network: no address, no script, no style but its own, in no attribute either."""
    tags = Elements(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "base", "form"}
    for tag, attributes in tags:
        for name, text in attributes.items():
            assert not re.search(r"https?:|//|data:|javascript:", text or ""), (tag, name, text)
            assert name != "style" and not name.startswith("on"), (tag, name)
            if name in {"href", "xlink:href", "src"}:
                assert text.startswith("#")
    style = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    assert len(style) == [tag for tag, _ in tags].count("style") == 1
    assert "url(" not in style[0] and "@import" not in style[0]


def test_ids_of_the_page_are_unique(page):
    """Nine plots share the page: an id of one never names a part of another."""
    ids = [attributes["id"] for _, attributes in Elements(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', page))
    assert used and used <= set(ids)


def test_plots_have_titles_and_descriptions(page):
    """Every plot is an image with a title and a description that the page really has."""
    tags = Elements(page).tags
    ids = {attributes["id"]: tag for tag, attributes in tags if "id" in attributes}
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    assert len(plots) == 10
    for attributes in plots:
        assert attributes["role"] == "img"
        title, description = attributes["aria-labelledby"].split()
        assert (ids[title], ids[description]) == ("title", "desc")
    assert "tuned hybrid .4" in page  # the figures of a plot are in its description


def test_colours_follow_the_scheme(page):
    """No plot has a colour of its own: each is a class that the style sheet colours for light and for dark."""
    svg = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b(?![\w-])", re.sub(r'(url\(#|href="#)[^)"]+', "", svg))
    classes = {one for text in re.findall(r'class="([^"]+)"', svg) for one in text.split()}
    assert {"stroke-base", "stroke-tuned", "fill-tuned", "fill-ink"} <= classes
    assert all(f".{one} " in page for one in classes)


def test_markup_from_outside_stays_text(evil):
    """A script in a document, a query, a name or a setting is shown as it is written and is never part of the page."""
    elements = Elements(evil)
    assert not {tag for tag, _ in elements.tags} & {"script", "img"}
    assert "<script" not in evil
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert elements.text.count("<script>alert(1)</script>") > 20


def test_the_page_is_deterministic(report, page):
    """The same report gives the same page, byte for byte: an artifact made again has the same checksums."""
    assert report_page(report) == page


@pytest.mark.parametrize(
    ("verdict", "headline"), [("WIN", "better"), ("TIE", "No significant difference"), ("LOSS", "worse")]
)
def test_the_verdict_stands_first(verdict, headline):
    """Each verdict has its headline, before every figure, with the reasons that were given and who judged."""
    page = report_page(
        example_report(
            verdict=verdict, reasons=["because of this"], judged_by="synthetic queries", queries=20, unseen=10
        )
    )
    text = re.sub(r"\s+", " ", Elements(page).text)
    assert text.index(verdict) < text.index("because of this") < text.index("Results")
    assert headline in text
    assert "Judged by synthetic queries, on 10 queries" in text


def test_the_table_has_both_columns(report, page):
    """Every system's mean stands in both columns: all queries, and those whose documents were not trained on."""
    for name in (ALL, UNSEEN):
        assert name.capitalize() in page
        for system, figures in report.groups[name].systems.items():
            for measure in METRICS:
                assert f"<b>{short(figures[measure].mean)}</b>" in page, (name, system)


def test_a_bare_report_is_a_page():
    """A report with one group, and without plots' data, changes and notes, is a page without the empty parts."""
    groups = {ALL: example_report(queries=20, unseen=10).groups[ALL]}
    page = report_page(
        example_report(
            groups=groups, decided_on=ALL, changes={}, gains=[], losses=[], curves=Curves(), separation={}, relevance=None, notes=[],
            tuned=TunedModelFacts(name="t", recipe={}), seconds={}, settings={},
        )
    )  # fmt: skip
    assert page.count("<svg") == 3
    assert "Beware" not in page and "Rungs" not in page and "All settings" not in page


def test_long_texts_are_cut():
    """A document's text is shown up to 400 characters on one line, and cut only once."""
    assert shorten("a  b\n\nc") == "a b c"
    long = shorten("word " * 200)
    assert len(long) <= 400 and long.endswith(" …")
    assert shorten(long) == long
    assert len(Shown(id="a", text="x" * 5000).text) == 400


@pytest.mark.parametrize(
    ("number", "plain", "sign", "on_axis"),
    [(0.2914, ".291", "+.291", ".291"), (-0.0061, "−.006", "−.006", "−.006"), (1.0, "1.000", "+1.000", "1"),
     (0, ".000", "±.000", "0"), (-0.0002, ".000", "±.000", "0"), (0.975, ".975", "+.975", ".975"), (0.3, ".300", "+.300", ".3")],
)  # fmt: skip
def test_figures_are_written_as_in_the_field(number, plain, sign, on_axis):
    """Three decimals without the leading zero, a true minus, and a sign on differences."""
    assert (short(number), signed(number), tick(number)) == (plain, sign, on_axis)


def test_intervals_and_settings_in_words():
    """Intervals of differences have signs; a tiny p is bounded; settings read as words."""
    difference = paired([0.1] * 300, [0.3] * 300, seed=0)
    assert interval(difference).replace("\xa0", " ") == "[+.200, +.200]"
    assert p_value(difference.p).replace("\xa0", " ") == "p < .001"
    assert p_value(0.0344).replace("\xa0", " ") == "p = .034"
    assert [value(each) for each in (True, None, 3e-4, 15210, ["a", 2], {"a_b": False}, [])] == [
        "yes", "–", "0.0003", "15,210", "a, 2", "a b no", "–",
    ]  # fmt: skip


def test_a_group_is_measured_over_its_queries_alone():
    """Means and differences of a group are over its queries alone, in each leg that both models have."""
    qrels = {"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 1}}
    base, tuned = (
        per_query(qrels, {"a": ["d"], "b": ["x", "d"], "c": ["d"]}),
        per_query(qrels, {"a": ["d"], "b": ["d"]}),
    )
    both = {"base dense": base, "tuned dense": tuned, "BM25": base}
    few, every = group(both, ["a", "b"], seed=0), group(both, ["a", "b", "c"], seed=0)
    assert few.queries == 2
    assert few.systems["base dense"]["MRR@10"].mean == pytest.approx(0.75)
    assert few.differences["dense"]["MRR@10"].mean == pytest.approx(0.25)
    assert every.differences["dense"]["MRR@10"].mean == pytest.approx((0 + 0.5 - 1) / 3)
    assert few.differences.keys() == {"dense"}
    assert few.systems.keys() == both.keys()


def test_the_biggest_changes_are_found():
    """Gains and losses come biggest first, ties by id, and what did not change is in neither."""
    base = {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5, "e": 0.5}
    tuned = {"a": 0.6, "b": 0.9, "c": 0.5, "d": 0.1, "e": 0.6}
    assert biggest_changes(base, tuned, list(base)) == (["b", "a", "e"], ["d"])
    assert biggest_changes(base, tuned, list(base), count=1) == (["b"], ["d"])
    assert biggest_changes(base, tuned, ["c"]) == ([], [])


def test_every_cosine_is_in_a_bin():
    """Histograms count every cosine, the smallest and the largest too."""
    histograms = separation([0.9, 0.8, 0.8], [-0.1, 0.3])
    assert (sum(histograms.relevant), sum(histograms.irrelevant)) == (3, 2)
    assert histograms.edges[0] == pytest.approx(-0.1) and histograms.edges[-1] == pytest.approx(0.9)
    with pytest.raises(ValueError, match="no cosines"):
        separation([], [])
