"""Words are found however they are written: in the index, in live documents, and in highlights and suggestions."""

from __future__ import annotations

import shutil
from typing import NamedTuple

import pytest
from starlette.testclient import TestClient

from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.settings import BuildSettings
from service.app import create_app
from service.settings import ServiceSettings


class Case(NamedTuple):
    """A language, a text, a query, and the parts of the text that are highlighted for it."""

    language: str
    text: str
    query: str
    marked: list[str]


CASES = {
    "English, decomposed": Case("en", "Our cafe\u0301 has a new menu", "café", ["cafe\u0301"]),
    "English, no accents": Case("en", "A déjà-vu came back", "deja", ["déjà"]),
    "English, full width": Case("en", "We use Ｌｉｎｕｘ servers", "linux", ["Ｌｉｎｕｘ"]),
    "English, ligature": Case("en", "The oﬃcial ﬂag waves", "flag", ["ﬂag"]),
    "English, soft hyphen": Case(
        "en", "Counter\u00adproductive measures", "counterproductive", ["Counter\u00adproductive"]
    ),
    "English, zero width": Case("en", "The light\u200bhouse stands", "Lighthouse", ["light\u200bhouse"]),
    "English, query with a soft hyphen": Case("en", "Two blackbirds sing", "black\u00adbird", ["blackbirds"]),
    "German, sharp s": Case("de", "Der Fußball rollt", "FUSSBALL", ["Fußball"]),
    "French, decomposed query": Case("fr", "Une forêt très dense", "fore\u0302t", ["forêt"]),
    "Spanish, no accents": Case("es", "El corazón late", "corazon", ["corazón"]),
    "Polish": Case("pl", "Gęś idzie drogą", "ges", ["Gęś"]),
    "Polish, barred l": Case("pl", "Mała ławka w parku", "lawka", ["ławka"]),
    "Czech": Case("cs", "Řeka teče údolím", "reka", ["Řeka"]),
    "Vietnamese": Case("vi", "Quán phở ở Đà Lạt", "pho da lat", ["phở", "Đà", "Lạt"]),
    "Vietnamese, decomposed": Case("vi", "Một chiếc thuye\u0302\u0300n nhỏ", "thuyền", ["thuye\u0302\u0300n"]),
    "Turkish, dotted": Case("tr", "İskele kapandı", "iskele", ["İskele"]),
    "Turkish, dotless": Case("tr", "ILIK bir çay", "ılık", ["ILIK"]),
    "Turkish, neither": Case("tr", "Kapı kırıldı", "kirildi", ["kırıldı"]),
    "Greek": Case("el", "Ο δρόμος άνοιξε", "ΔΡΟΜΟΣ", ["δρόμος"]),
    "Russian": Case("ru", "Колёса скрипят", "колеса", ["Колёса"]),
    "Arabic": Case("ar", "هذا كِتَابٌ قديم", "كتاب", ["كِتَابٌ"]),
    "Persian, joined": Case("fa", "او کتاب می\u200cخواند", "میخواند", ["می\u200cخواند"]),
    "Persian, with a space": Case("fa", "درخت\u200cها سبز شدند", "درخت ها", ["درخت", "ها"]),
    "Persian, Arabic letters": Case("fa", "یک پرنده", "يك", ["یک"]),
    "Hindi": Case("hi", "मेरी किताब नई है", "किताब", ["किताब"]),
    "Chinese": Case("zh", "昨天他買了一台顯微鏡回家", "顯微鏡", ["顯微鏡"]),
    "Japanese, half width": Case("ja", "古いｶﾒﾗを修理した", "カメラ", ["ｶﾒﾗ"]),
    "Japanese": Case("ja", "山頂の展望台から海が見える", "展望台", ["展望台"]),
    "Korean": Case("ko", "우리는 도서관에서 공부했다", "도서관", ["도서관"]),
    "Thai": Case("th", "เขาซื้อจักรยานสีแดง", "จักรยาน", ["จักรยาน"]),
    "no language, long word": Case("none", f"key {'k9' * 200} end", "K9" * 200, ["k9" * 125, "k9" * 75]),
}
KNOWN = {"en", "de", "fr", "es", "tr", "el", "ru", "ar", "none"}
ORDER = [*CASES]


def of_language(case: Case) -> str:
    """Return the language of a corpus with such texts; for those in scripts without spaces, an English one."""
    return case.language if case.language in KNOWN else "en" if case.language in {"zh", "ja", "ko", "th"} else "none"


@pytest.fixture(scope="module", params=sorted({of_language(case) for case in CASES.values()}))
def service(request, tmp_path_factory, tiny_data):
    """An index of a language's texts, with the same texts as live documents; client, language and data directory."""
    language = request.param
    data = tmp_path_factory.mktemp("spellings") / "data"
    shutil.copytree(tiny_data, data)
    lines = data / "corpus.csv"
    lines.write_text(
        "id,text\n" + "".join(f"b{ORDER.index(name)},{case.text}\n" for name, case in CASES.items()), encoding="utf-8"
    )
    build(str(lines), BuildSettings(language=language, dense_weight=0.5), data)
    with TestClient(create_app(ServiceSettings(data=data, writable=True))) as client:
        live = [{"id": f"l{ORDER.index(name)}", "text": case.text} for name, case in CASES.items()]
        assert client.put("/documents", json={"documents": live}).status_code == 200
        yield client, language, data


def check_all(client, language):
    """Check that each spelling of the language finds the document of the index and the live one, equally well."""
    for name, case in CASES.items():
        if of_language(case) != language:
            continue
        answer = client.post("/search", json={"query": case.query, "mode": "lexical", "highlight": True, "top_k": 3})
        results = {result["id"]: result for result in answer.json()["results"]}
        number = ORDER.index(name)
        assert {*[*results][:2]} == {f"b{number}", f"l{number}"}, (name, list(results))
        for result in list(results.values())[:2]:
            assert result["score"] == pytest.approx(answer.json()["results"][0]["score"], rel=1e-4)
            marked = [result["text"][start:end] for start, end in result["highlights"]["text"]]
            assert marked == case.marked, name


def test_every_spelling_is_found(service):
    """Each text is found by its query in lexical mode, as built and as a live document, and its very word is marked."""
    client, language, data = service
    check_all(client, language)
    assert compact(data).fresh
    with TestClient(create_app(ServiceSettings(data=data))) as compacted:
        check_all(compacted, language)


def test_the_table_is_long_enough():
    """The table has at least twenty spellings in twelve languages."""
    assert len(CASES) >= 20
    assert len({case.language for case in CASES.values()}) >= 12


def test_suggestions_take_any_spelling(serve_columns):
    """A misspelt word is corrected however it is composed; what stays of the query stays as it is written."""
    data = serve_columns({"id": ["1", "2"], "text": ["Die Straße nach Kraków", "Eine Brücke"]})
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        for query, expected in {
            "Krakovv": "kraków",
            "Krako\u0301vv!": "kraków!",
            "«brucka» 42": "«brücke» 42",
            "kra\u00adkof": "kraków",
        }.items():
            answer = client.post("/search", json={"query": query, "mode": "lexical"}).json()
            assert answer.get("suggestion") == expected
