"""Settings of `indexer build` and `indexer create`: name, default and help text of every flag are defined here only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.artifacts.manifest import RELEVANCE, WEIGHTING, WORDS, file_sha256
from indexer.build.executors.settings import ExecutorSettings
from indexer.build.metadata.settings import ExtractSettings
from indexer.corpus.settings import CorpusSettings
from indexer.index.approximate.kinds import RequestedKind
from indexer.index.terms.column_names import parse_weights
from indexer.index.terms.rules import RULE_FILES
from indexer.milvus.settings import StoreSettings


class ColumnSettings(BaseModel):
    """Metadata columns that are searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search_columns: str | None = Field(
        default=None,
        description="Columns whose words are searched beside title and text, with commas between them; a weight may stand "
        "behind each: brand^2,tags (default: none)",
    )
    exact_columns: str | None = Field(
        default=None,
        description="Columns of which a value that equals the whole query puts its documents first, as ids do, with commas "
        "between them: sku,ean (default: none)",
    )

    encode_columns: str | None = Field(
        default=None,
        description="Columns of texts that the encoder gets in front of each passage, behind the title, with commas between "
        "them: brand,colour (default: none)",
    )

    @property
    def weights_of_columns(self) -> dict[str, float]:
        """Weight of each column that is searched."""
        return parse_weights(self.search_columns)


class BuildSettings(CorpusSettings, ColumnSettings, ExtractSettings, ExecutorSettings, StoreSettings):
    """What is indexed, and how."""

    model: str | None = Field(default=None, description="Id of the model artifact (default: models/CURRENT)")
    precision: Literal["fp32", "int8"] = Field(
        default="fp32", description="Weights of the encoder: exact, or 8-bit integers (faster)"
    )
    query_encoder: Literal["auto", "full"] = Field(
        default="auto",
        description="Encoder of the queries: full is the one of the documents; auto takes the model's small one where it "
        "has one",
    )
    passages: Literal["split", "one"] = Field(
        default="split",
        description="Split long texts into passages, or make one vector of the beginning of each document",
    )
    overlap_tokens: int = Field(default=32, ge=0, description="Tokens that neighbouring passages share, at most")
    dense: RequestedKind = Field(
        default="auto",
        description="Kind of the dense index. flat compares all vectors; flat-fp16 and flat-int8 compare smaller codes of "
        "all; ivf-int8 and ivf-1bit those of the nearest lists; hnsw follows a graph. auto is flat up to 100,000 passages, "
        "and above that ivf-1bit, or ivf-int8 where that one misses too much",
    )
    recall: float = Field(
        default=0.98,
        gt=0,
        le=1,
        description="Share of the 10 nearest passages that a search of an approximate dense index shall find; the build "
        "measures it, and sets the effort of a search by it",
    )
    dense_components: int | None = Field(
        default=None,
        ge=8,
        description="Make the codes of an approximate dense index of the first components of a vector only, for models "
        "that are trained for it (Matryoshka); full vectors score what is found (default: of a Matryoshka model the shortest "
        "length that reaches --recall; of others all)",
    )
    synonyms: Path | None = Field(
        default=None,
        description="File of synonyms, one rule a line: `sofa, couch` for both ways, `tv => television set` for one. "
        "They are searched beside the words of a query (default: none)",
    )
    stop_words: Path | None = Field(
        default=None,
        description="File of words that are not searched, one a line, besides those of the language (default: none)",
    )
    fusion: Literal["convex", "rrf"] = Field(
        default="convex", description="How hybrid search combines the legs: by score or by rank"
    )
    dense_weight: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Weight of the dense leg in hybrid search; the lexical leg has the rest "
        "(default: as the model was tuned with, else estimated from sentences taken out of their documents)",
    )
    candidates: int = Field(default=200, ge=1, le=10_000, description="Documents of each leg that hybrid search fuses")
    sparse_model: str | None = Field(
        default=None,
        description="Learned-sparse model of a third leg: `current`, or the id of a published one (default: no such leg)",
    )
    sparse_terms: int = Field(default=256, ge=1, description="Terms that a passage has in that leg, at most")
    sparse_weight: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Weight of that leg in hybrid search; the others share the rest (default: the best of .1, .2 and .3 "
        "that questions made from the corpus show to be a gain, else 0)",
    )
    label_with: str | None = Field(
        default=None,
        description="Classifier that reads the text of every document: `current`, the id of a published one, or a "
        "directory. Its answers become metadata (default: no labels)",
    )
    label_column: str = Field(
        default="label",
        min_length=1,
        description="Column that --label-with fills; the probabilities go into the column of this name and `_probability`",
    )
    force: bool = Field(default=False, description="Build even if an index of the same inputs and settings exists")

    def rule_files(self) -> dict[str, Path]:
        """Return the files of synonyms and stop words that are given, by the name of their setting."""
        return {name: path for name in RULE_FILES if (path := getattr(self, name)) is not None}

    def recipe(self) -> dict[str, Any]:
        """Return the settings that decide the content of an index besides its corpus, its model and its labels."""
        aside = {"force", "model", "label_with", "label_column", "sparse_model", "sparse_terms", "sparse_weight"}
        aside |= {"markup", "list_columns"}  # what they come to is part of the corpus's treatment
        optional = ("dense_components", "search_columns", "exact_columns", "encode_columns", *RULE_FILES)
        # An index of an earlier version, which had no such setting, is the same.
        aside |= {name for name in optional if getattr(self, name) is None}
        aside |= ExtractSettings.model_fields.keys()
        aside |= StoreSettings.model_fields.keys() | ExecutorSettings.model_fields.keys()
        recipe = self.model_dump(exclude=aside) | {"words": WORDS, "weighting": WEIGHTING, "relevance": RELEVANCE}
        recipe |= {name: file_sha256(path) for name, path in self.rule_files().items()} | self.extract_recipe()
        if self.sparse_model is None:
            return recipe
        return recipe | {"sparse": {"terms": self.sparse_terms, "weight": self.sparse_weight}}


class CreateSettings(ColumnSettings):
    """Columns of an empty index, and how its documents will be read."""

    columns: str = Field(
        default="",
        description="Metadata columns with their types, such as `price:float,brand:text,tags:list`; types: "
        "text, int, float, bool, date, time, list (default: no metadata)",
    )
    language: str = Field(
        default="auto",
        description="Language of stemming and stop words: none, or an ISO 639-1 code such as en, es or de; auto is none "
        "until the first compaction, which finds the language in the texts",
    )
    markup: Literal["keep", "strip"] = Field(
        default="keep", description="HTML in texts and titles: strip turns it into text, keep leaves it"
    )
    model: str | None = Field(default=None, description="Id of the model artifact (default: models/CURRENT)")
    force: bool = Field(default=False, description="Make the empty index live although another one is")
