"""Names that columns of titles, texts, ids, lists and codes often have, in the languages of western European catalogues.

Values decide where they can; a name decides between columns whose values look alike. Each role's names are in the order in
which they are preferred, English first. They are compared without accents and capitals, as a whole or as one word of a
column's name; `LONG` letters or more also as the end of a compound, as in «Artikelbezeichnung».
"""

from __future__ import annotations

import re
import unicodedata

LONG = 7
"""Letters from which on a name is also looked for at the end of a word: «name» would be found in «username»."""
TEXT_NAMES = (
    "text", "description", "body", "content", "abstract", "summary", "details", "article", "passage", "answer",
    "review", "message", "comment", "beschreibung", "inhalt", "zusammenfassung", "langtext", "texte", "contenu",
    "resume", "descripcion", "texto", "contenido", "resumen", "descrizione", "testo", "contenuto", "descricao",
    "conteudo", "resumo", "beschrijving", "omschrijving", "tekst", "inhoud",
)  # fmt: skip
TITLE_NAMES = (
    "title", "name", "headline", "subject", "heading", "label", "question", "titel", "bezeichnung", "produktname",
    "artikelname", "uberschrift", "titre", "nom", "intitule", "titulo", "nombre", "titolo", "nome", "naam",
)  # fmt: skip
ID_NAMES = (
    "id", "sku", "uuid", "guid", "key", "code", "slug", "asin", "isbn", "ean", "gtin", "number", "no", "listing",
    "artikelnummer", "artikelnr", "nummer", "nr", "kennung", "reference", "ref", "numero", "codigo", "referencia",
    "codice", "riferimento",
)  # fmt: skip
LIST_NAMES = (
    "tags", "categories", "keywords", "labels", "genres", "topics", "colors", "colours", "sizes", "amenities",
    "features", "authors", "materials", "tag", "keyword", "schlagworte", "schlagworter", "stichworter",
    "kategorien", "merkmale", "etiquettes", "etiquetas", "etichette", "trefwoorden",
)  # fmt: skip
EXACT_NAMES = (
    "sku", "ean", "gtin", "upc", "isbn", "asin", "mpn", "code", "model", "part", "number", "artikelnummer",
    "artikelnr", "reference", "referencia", "codigo", "codice",
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def rank(column: str, names: tuple[str, ...]) -> int:
    """Return where the name of a column, or one word of it, stands among ``names``; twice their number where it does not.

    A whole name goes before a word of one.
    """
    whole = _plain(column)
    words = [_plain(word) for word in _WORD.findall(_CAMEL.sub(" ", column))]
    ranks = [
        2 * position + (name != whole)
        for position, name in enumerate(names)
        if name == whole or any(word == name or (len(name) >= LONG and word.endswith(name)) for word in words)
    ]
    return min(ranks, default=2 * len(names))


def is_among(column: str, names: tuple[str, ...]) -> bool:
    """Say whether the name of a column, or one word of it, is among ``names``."""
    return rank(column, names) < 2 * len(names)


def _plain(name: str) -> str:
    """Return a name without accents and capitals."""
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    ).lower()
