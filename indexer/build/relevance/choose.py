"""Calibration of an index: as fitted on people's labels for its model, an earlier index's, or fitted on made queries.

A fit takes some seconds, whatever the corpus's size. As with the weights of the legs, a build whose first documents are
nearly all those of an earlier index takes that one's calibration over.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from indexer.artifacts.manifest import read_manifest
from indexer.build.assemble import Assembly
from indexer.build.relevance.fit import cross_validate, enough, fit, in_other_words
from indexer.build.relevance.observe import Observation, observe
from indexer.build.relevance.questions import make_queries
from indexer.build.weights.choose import SAME_SHARE, Digests, digest_sample, estimated_for
from indexer.build.weights.dense_weight import POOL_DOCUMENTS
from indexer.index.index import Index, open_documents
from indexer.progress import say, stage
from indexer.retrieval.relevance import Calibration, Regressions
from indexer.retrieval.retriever import Retriever

SAMPLE = "relevance_sample.npy"
"""Digests of the documents of which the calibration was made: uint64, ascending."""
MIN_DOCUMENTS = 100
"""With fewer documents, their neighbours and their rare words say too little."""
SEED = 0


def choose_calibration(assembly: Assembly, index: Index) -> dict[str, Any]:
    """Return what the manifest's configuration says of relevance: `relevance`, and `relevance_of` where it is taken over.

    Args:
        assembly: what the index was written by.
        index: as it was written, before it is published.
    """
    model = Calibration.of_config(read_manifest(assembly.encoder.folder).config)
    if model is not None and model.fitted_on == "labels":
        say(f"relevance: as fitted on the labels that {assembly.encoder.folder.name} was tuned with")
        return {"relevance": model.model_dump(mode="json"), "relevance_of": assembly.encoder.folder.name}
    sample = digest_sample(list(islice(open_documents(assembly.folder).rows(["title", "text"]), POOL_DOCUMENTS)))
    if not assembly.settings.force and (earlier := _earlier(assembly, index, sample)):
        return earlier
    calibration = calibrate(index)
    if calibration is not None:
        np.save(assembly.folder / SAMPLE, sample, allow_pickle=False)
    return {"relevance": calibration}


def calibrate(index: Index) -> dict[str, Any] | None:
    """Fit a calibration on queries made from the documents of ``index``; None where these are too few."""
    if len(index) < MIN_DOCUMENTS:
        say(f"relevance: none, as {len(index):,} documents are too few to calibrate it; it takes {MIN_DOCUMENTS:,}")
        return None
    with stage("calibrate relevance"):
        observations = observe(Retriever(index), make_queries(index, SEED))
    fitted = {mode: found for mode, found in observations.items() if enough(found)}
    if not fitted:
        say("relevance: none, as too few queries can be made from these documents to calibrate it")
        return None
    for mode, found in fitted.items():
        if (quality := cross_validate(found, _fit_made)) is not None:
            say(f"relevance, {mode}: AUC {quality.auc:.3f}, calibration error {quality.ece:.3f} on made queries")
    modes = {mode: _fit_made(found) for mode, found in fitted.items()}
    return Calibration(fitted_on="questions", modes=modes).model_dump(mode="json")


def keep_calibration_sample(source: Path, folder: Path) -> None:
    """Copy the digests of an index to another one with the same calibration."""
    if (source / SAMPLE).is_file():
        shutil.copyfile(source / SAMPLE, folder / SAMPLE)


def _fit_made(observations: Sequence[Observation]) -> Regressions:
    return fit(in_other_words(observations))


def _earlier(assembly: Assembly, index: Index, sample: Digests) -> dict[str, Any] | None:
    """Return the calibration of the index whose vectors are taken, where it was made of nearly the same documents."""
    folder = assembly.known.folder if assembly.known else None
    if folder is None or not ((folder / SAMPLE).is_file() and (folder / "manifest.json").is_file()):
        return None
    earlier = read_manifest(folder)
    calibration = Calibration.of_config(earlier.config)
    if calibration is None or estimated_for(earlier) != estimated_for(index.manifest):
        return None
    known: Digests = np.load(folder / SAMPLE, allow_pickle=False)
    share = np.intersect1d(known, sample).size / max(known.size, sample.size, 1)
    if share < SAME_SHARE:
        return None
    keep_calibration_sample(folder, assembly.folder)
    origin = earlier.config.get("relevance_of", earlier.id)
    say(f"relevance: as calibrated for {origin}: {share:.1%} of its sample is the same (--force calibrates anew)")
    return {"relevance": calibration.model_dump(mode="json"), "relevance_of": origin}
