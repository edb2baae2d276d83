"""Services that Dowse is compared with, each started as in its documentation. Run by bench/serve.py.

    PYTHON bench/anchors.py txtai MODEL CORPUS.parquet FOLDER PORT     txtai's API server, hybrid search with contents
    PYTHON bench/anchors.py plain MODEL CORPUS.parquet FOLDER PORT     FastAPI, sentence-transformers and FAISS: dense search

PYTHON is the interpreter of an environment with `txtai[api]`, `sentence-transformers`, `faiss-cpu`, `fastapi`, `uvicorn` and
`pyarrow`; MODEL is a sentence-transformers directory. Their indexes are kept in FOLDER and used again the next time.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pyarrow.parquet as pq


def documents(corpus: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts, the title before the text as Dowse reads them."""
    table = pq.read_table(corpus)
    titles = table["title"].to_pylist() if "title" in table.column_names else [""] * len(table)
    texts = [f"{title or ''} {text}".strip() for title, text in zip(titles, table["text"].to_pylist(), strict=True)]
    return [str(value) for value in table["id"].to_pylist()], texts


def txtai(model: Path, corpus: Path, folder: Path, port: int) -> None:
    """Index the corpus and serve it with txtai's own application."""
    settings = (
        f"path: {folder / 'index'}\nwritable: false\nembeddings:\n  path: {model}\n  hybrid: true\n  content: true\n"
    )
    (folder / "app.yml").write_text(settings, encoding="utf-8")
    if not (folder / "index").exists():
        from txtai import Embeddings

        embeddings = Embeddings(path=str(model), hybrid=True, content=True)
        embeddings.index(zip(*documents(corpus), strict=True))
        embeddings.save(str(folder / "index"))
    os.environ["CONFIG"] = str(folder / "app.yml")
    import uvicorn

    uvicorn.run("txtai.api:app", port=port, log_level="warning")


def plain(model: Path, corpus: Path, folder: Path, port: int) -> None:
    """Serve the service of a tutorial: a route that encodes, searches FAISS and looks up the texts."""
    import faiss
    import uvicorn
    from fastapi import FastAPI
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(model), device="cpu")
    ids, texts = documents(corpus)
    if not (folder / "plain.faiss").exists():
        new = faiss.IndexFlatIP(encoder.get_embedding_dimension())
        new.add(encoder.encode(texts, normalize_embeddings=True))
        faiss.write_index(new, str(folder / "plain.faiss"))
    index = faiss.read_index(str(folder / "plain.faiss"))
    app = FastAPI()

    @app.get("/search")
    def search(q: str, top_k: int = 10) -> dict[str, object]:
        """Return the nearest documents."""
        scores, rows = index.search(encoder.encode([q], normalize_embeddings=True), top_k)
        hits = zip(scores[0].tolist(), rows[0].tolist(), strict=True)
        return {"results": [{"id": ids[row], "score": score, "text": texts[row]} for score, row in hits]}

    uvicorn.run(app, port=port, log_level="warning")


def main() -> None:
    """Serve one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=["txtai", "plain"], help="which of them")
    parser.add_argument("model", type=Path, metavar="MODEL", help="sentence-transformers directory")
    parser.add_argument("corpus", type=Path, metavar="CORPUS.parquet", help="columns id, text and perhaps title")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where its index is kept")
    parser.add_argument("port", type=int, metavar="PORT", help="where it answers")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    serve = {"txtai": txtai, "plain": plain}[arguments.system]
    serve(arguments.model, arguments.corpus, arguments.folder, arguments.port)


if __name__ == "__main__":
    main()
