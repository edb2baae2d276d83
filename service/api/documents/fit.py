"""Documents that clients send, checked against the index and converted to what it keeps."""

from __future__ import annotations

import pyarrow as pa

from indexer.live.metadata import fit_metadata
from indexer.live.prepare import NewDocument, Preparer
from service.api.documents import schemas

TOKENS_PER_TURN = 4096
"""Most tokens that are encoded in one turn of the queue, whatever the number and length of the documents."""


def fit_document(
    types: dict[str, pa.DataType], preparer: Preparer, document: schemas.NewDocument
) -> tuple[NewDocument, dict[str, str]]:
    """Return a document as the index keeps it, HTML as text and metadata in the types of its columns; and what is wrong.

    Args:
        types: of the metadata columns.
        preparer: of the index.
        document: as it was sent.

    Returns:
        The document, and by the name of a field why the index cannot hold it.
    """
    treated = preparer.treat(NewDocument(document.id, document.title, document.text, document.metadata))
    fitted = fit_metadata(treated.metadata, types)
    errors = {f"metadata.{name}": message for name, message in fitted.errors.items()}
    if not treated.text.strip():
        errors["text"] = "nothing but markup; give a text"
    return treated._replace(fitted=fitted), errors
