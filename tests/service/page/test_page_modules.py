"""The page's arithmetic, run in Chromium: steps of sliders, the map's projection, views in URLs."""

import pytest

IMPORT = "const [columns, geo, view, values] = await Promise.all(['filters/columns', 'filters/geo', 'view', 'search/values'].map(name => import(`/page/${name}.js`)));"


@pytest.fixture
def evaluate(open_page, tuned_service):
    """Runs the body of an asynchronous function that has the page's modules."""
    page = open_page(url=tuned_service)
    return lambda body, given=None: page.evaluate(f"async given => {{ {IMPORT} {body} }}", given)


def test_the_steps_of_a_slider_hold_every_value(evaluate):
    """For any minimum and maximum of a column, the steps ascend, are few, and each value is in one of them."""
    spans = [
        [0, 1], [1, 16], [0, 468], [1, 364], [10, 23229], [0, 0.37], [-40, 55], [-0.002, 0.001], [1990, 2026], [3, 1e12],
        [0.5, 5], [1e-6, 2e-6], [0, 1e30], [-1e9, 1e9], [99, 100], [1, 10_000_000], [1_700_000_000_123, 1_700_000_000_135],
    ]  # fmt: skip
    for whole in (True, False):
        asked = [span for span in spans if not whole or all(float(end).is_integer() for end in span)]
        found = evaluate("return given[0].map(([a, b]) => columns.edgesOf(a, b, given[1]));", [asked, whole])
        for (low, high), edges in zip(asked, found, strict=True):
            assert edges == sorted(set(edges)), (low, high, edges)
            assert 3 <= len(edges) <= 50, (low, high, edges)
            assert edges[0] <= low < edges[1] and edges[-2] <= high < edges[-1], (low, high, edges)
            assert not whole or all(float(edge).is_integer() for edge in edges)
    assert evaluate("return [columns.edgesOf(3, 3, true), columns.edgesOf(null, null, false)];") == [[], []]


def test_the_steps_of_long_whole_numbers_hold_every_value(evaluate):
    """The same for whole numbers that a double rounds, also where all of them lie close together."""
    spans = [
        (2**53 + 1, 2**53 + 12), (2**63 - 10_000, 2**63 - 1), (-(2**63), 2**63 - 1), (-(2**63), -(2**63) + 3), (7, 2**64 - 1),
        (2**53 - 5, 2**53 + 5), (0, 2**53 + 1), (2**62 + 1, 2**63 - 1),
    ]  # fmt: skip
    body = """const { parse } = await import('/page/exact.js');
        return given.map((span) => columns.edgesOf(...parse(span), true).map(String));"""
    for (low, high), edges in zip(spans, evaluate(body, [f"[{low},{high}]" for low, high in spans]), strict=True):
        exact = [int(float(edge)) if "e" in edge else int(edge) for edge in edges]
        assert exact == sorted(set(exact)), (low, high, edges)
        assert 3 <= len(exact) <= 50, (low, high, edges)
        assert exact[0] <= low < exact[1] and exact[-2] <= high < exact[-1], (low, high, edges)


def test_the_map_shows_places_where_they_are(evaluate):
    """A place comes back from the screen; a circle of the map is that circle on the earth, also after zooming."""
    back, radius, kept, north = evaluate("""
        const camera = new geo.Camera(300, 200);
        camera.fit([{ lat: 39.8, lon: 3.8 }, { lat: 40.1, lon: 4.3 }]);
        const place = { lat: 39.93, lon: 4.05 };
        const back = geo.unproject(camera.world(camera.pixel(place)));
        const at = { x: 70, y: 50 };
        const before = geo.unproject(camera.world(at));
        camera.zoom(3, at);
        const after = geo.unproject(camera.world(at));
        const circle = camera.circle;
        const north = camera.pixel({ ...circle, lat: circle.lat + circle.km / 111.195 }); // kilometres of a degree
        return [back, [camera.radius(circle), camera.reach], [before, after], 100 - north.y];""")
    assert back == pytest.approx({"lat": 39.93, "lon": 4.05}, abs=1e-6)
    assert kept[0] == pytest.approx(kept[1], abs=1e-6)
    assert radius[0] == pytest.approx(radius[1], rel=0.01)
    assert north == pytest.approx(radius[0], rel=0.01)


@pytest.mark.parametrize(
    "query",
    [
        "?q=a%26b&mode=dense&varied=",
        "?similar=x%2Fy&q=old&choose.a.b=1&choose.a.b=%C3%A9+%26&from.price=10&to.price=20.5&near=39.9%2C-4%2C12.5",
        "./",
    ],
)
def test_a_view_survives_its_url(evaluate, query):
    """The URL of a view is read as the same view; what is wrong in a URL is left out."""
    assert evaluate("return view.urlOf(view.readUrl(given.replace('./', '')));", query) == query
    wrong = "?q=x&mode=magic&near=1,2&near=x&from.=&choose"
    assert evaluate("return view.urlOf(view.readUrl(given));", wrong) == "?q=x"


def test_columns_are_told_by_their_types(evaluate):
    """Texts, booleans and lists are chosen from, numbers and dates bounded, coordinates mapped, the rest only shown."""
    types = {
        "kind": "large_string", "pets": "bool", "tags": "list<item: string>", "sizes": "list<element: int64>",
        "price": "double", "day": "date32[day]", "seen": "timestamp[us]", "geo_lat": "double", "geo_lng": "float",
        "owner": "struct<name: string>", "raw": "binary", "flags": "list<item: bool>",
        "some": "list<element: string not null>", "three": "fixed_size_list<element: string>[3]", "seen_on": "large_list<item: date32[day]>",
        "deep": "list<element: list<element: string not null> not null>", "deep_sizes": "list<item: list<item: int64>>",
        "bytes": "list<element: binary>", "spans": "list<element: duration[us]>", "pairs": "list<element: map<string, string>>",
        "owners": "list<element: struct<name: string>>", "map": "map<string, string>", "fixed": "fixed_size_binary[2]",
    }  # fmt: skip
    body = """const all = new columns.Columns(given);
        return [all.choices, all.numbers, all.dates, all.place, all.typed('flags', 'true'), all.typed('price', '2.50'),
                all.typed('kind', '7'), all.typed('deep_sizes', '7'), all.ends('day', { lte: '2024-12-31' })];"""
    assert evaluate(body, types) == [
        ["kind", "pets", "tags", "flags", "some", "three", "seen_on", "deep"], ["price"], ["day", "seen"],
        {"latitude": "geo_lat", "longitude": "geo_lng"}, True, 2.5, "7", 7, {"lt": "2025-01-01"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [("lat", "lon"), ("geo_latitude", "geo_Longitude"), ("Breitengrad", "Längengrad"), ("latitud", "longitud")],
)
def test_coordinates_of_other_languages(evaluate, latitude, longitude):
    """Columns of coordinates are found by the names that others give them; a width and a length are none."""
    types = {"Breite": "double", "Länge": "double", latitude: "double", longitude: "float"}
    assert evaluate("return new columns.Columns(given).place;", types) == {
        "latitude": latitude,
        "longitude": longitude,
    }


def test_prices_and_pictures_of_other_languages(evaluate):
    """Prices and pictures are told by the words of a column's name, in several languages; words that only begin so are none."""
    numbers = ["price", "list_price", "unitPrice", "Verkaufspreis", "prix_ttc", "Preço", "priceless", "rental", "prize"]
    body = """return given.filter(name => /^7\\.00$/.test(
        values.metadataNodes({ [name]: 7 }, { types: { [name]: "double" } }, [])[0].querySelector("dd").textContent));"""
    assert evaluate(body, numbers) == numbers[:6]
    pictures = ["image", "thumbnail_url", "Produktbild", "Bild", "foto", "bildung", "source"]
    body = """return given.filter(name => values.imageOf({ [name]: "https://a.example/1" }, null, ["https:"]));"""
    assert evaluate(body, pictures) == pictures[:5]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":[123456789012345678,-123456789012345678,7],"b":{"c":40000000000000000001},"d":0.5}',
        '{"a":"123456789012345678","b":"\\\\","c":"\\"123456789012345678","d":"whole number 0 12345678901234567"}',
        '[1.5e+300,12345678901234567890,"é 98765432109876543210"]',
    ],
)
def test_whole_numbers_keep_their_digits(evaluate, text):
    """JSON that is read and written again is the same text, with every digit of a whole number; strings are left alone."""
    body = "const { parse, stringify } = await import('/page/exact.js'); return [stringify(parse(given)), JSON.stringify(JSON.parse(given))];"
    exact, rounded = evaluate(body, text)
    assert exact == text
    assert (rounded == text) == text.startswith('{"a":"')


def test_sliders_hold_numbers_that_doubles_do_not(evaluate):
    """A slider of a column of long whole numbers says its exact ends, and a bound of a link is asked for with all digits."""
    body = """const [{ slider }, { stringify }] = await Promise.all([import('/page/filters/slider.js'), import('/page/exact.js')]);
        const [min, max] = [11n, 9007199254740995n];
        const edges = columns.edgesOf(min, max, true);
        const { node, set } = slider({ label: 'n', edges, whole: true, min, max }, () => {});
        set();
        const all = new columns.Columns({ n: 'uint64' });
        return [node.querySelector('.range').textContent, stringify(all.ends('n', { gte: '9007199254740993' }))];"""
    assert evaluate(body) == ["11 – 9,007,199,254,740,995", '{"gte":9007199254740993}']


@pytest.mark.parametrize(
    ("unit", "inside"), [("&eacute;", 3), ("&#x1F600;", 1), ("e\u0301\u0323", 2), ("\U0001f469\u200d\U0001f52c", 1)]
)
def test_an_excerpt_begins_with_whole_letters(evaluate, unit, inside):
    """Where a text has no space to begin at, its excerpt begins before the entity or letter that it would cut."""
    text = "\U0001f600" * 300 + unit + "z" * 50
    body = "const { excerptStart } = await import('/page/search/highlights.js'); return given[1].map((at) => excerptStart(given[0], [[at, at + 9]]));"
    assert evaluate(body, [text, [300 + inside, 300, 300 + len(unit)]]) == [300, 300, 300 + len(unit)]
