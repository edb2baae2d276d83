"""The services that Dowse is compared with, each as its documentation starts it. Run by bench/serve.py.

    PYTHON bench/anchors.py txtai MODEL CORPUS.parquet PORT     txtai's API server, hybrid search with contents
    PYTHON bench/anchors.py plain MODEL CORPUS.parquet PORT     FastAPI, sentence-transformers and FAISS: dense search

PYTHON is that of an environment with `txtai[api]`, `sentence-transformers`, `faiss-cpu`, `fastapi`, `uvicorn` and
`pyarrow`; MODEL a sentence-transformers directory.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq


def documents(corpus: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts, the title before the text as Dowse reads them."""
    table = pq.read_table(corpus)
    titles = table["title"].to_pylist() if "title" in table.column_names else [""] * len(table)
    texts = [f"{title or ''} {text}".strip() for title, text in zip(titles, table["text"].to_pylist(), strict=True)]
    return [str(value) for value in table["id"].to_pylist()], texts


def txtai(model: Path, corpus: Path, port: int) -> None:
    """Index the corpus and serve it with txtai's own application."""
    folder = Path(tempfile.mkdtemp(prefix="bench-txtai-"))
    settings = (
        f"path: {folder / 'index'}\nwritable: false\nembeddings:\n  path: {model}\n  hybrid: true\n  content: true\n"
    )
    (folder / "app.yml").write_text(settings, encoding="utf-8")
    from txtai import Embeddings

    embeddings = Embeddings(path=str(model), hybrid=True, content=True)
    embeddings.index(zip(*documents(corpus), strict=True))
    embeddings.save(str(folder / "index"))
    os.environ["CONFIG"] = str(folder / "app.yml")
    import uvicorn

    uvicorn.run("txtai.api:app", port=port, log_level="warning")


def plain(model: Path, corpus: Path, port: int) -> None:
    """Serve what a tutorial shows: a route that encodes, asks FAISS and looks the texts up."""
    import faiss
    import uvicorn
    from fastapi import FastAPI
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(model), device="cpu")
    ids, texts = documents(corpus)
    index = faiss.IndexFlatIP(encoder.get_embedding_dimension())
    index.add(encoder.encode(texts, normalize_embeddings=True))
    app = FastAPI()

    @app.get("/search")
    def search(q: str, top_k: int = 10) -> dict[str, object]:
        """Return the nearest documents."""
        scores, rows = index.search(encoder.encode([q], normalize_embeddings=True), top_k)
        found = zip(scores[0].tolist(), rows[0].tolist(), strict=True)
        return {"results": [{"id": ids[row], "score": score, "text": texts[row]} for score, row in found]}

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    {"txtai": txtai, "plain": plain}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
