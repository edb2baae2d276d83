"""The settings of `python -m trainer`, one class per command: the only place where a name, a default and a help text stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from trainer.queries.llm.parse import KINDS
from trainer.training.durations import checked_duration, parse_duration


def lengths(text: str | None) -> tuple[int, ...]:
    """Return the numbers of a list of lengths such as ``384,256,128``; none of None."""
    return tuple(int(part) for part in text.split(",")) if text else ()


def _are_lengths(text: str | None) -> str | None:
    if text is not None and not all(part.strip().isdigit() and int(part) for part in text.split(",")):
        raise ValueError("write lengths with commas between them, such as 384,256,128")
    return text


Lengths = Annotated[str | None, AfterValidator(_are_lengths)]


class BaseSettings(BaseModel):
    """How an untouched model is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    int8: bool = Field(default=False, description="Also write 8-bit weights, for `indexer build --precision int8`")
    corpus: str | None = Field(
        default=None,
        description="Corpus whose texts the ONNX encoder is checked on (default: Python's own documentation)",
    )
    text_column: str = Field(default="text", description="Column of the texts in that corpus")
    matryoshka: Lengths = Field(
        default=None,
        description="Lengths at which a prefix of the model's vectors is of use, such as 512,256; the service offers "
        "them (default: those that `finetune` has trained it for)",
    )
    force: bool = Field(default=False, description="Publish even if the same model is there")


class PrepareSettings(BaseModel):
    """Which documents become the training frame, and how long texts are split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(
        default=None, description="SQL statement whose rows are the documents, where --source is the URL of a database"
    )
    id_column: str | None = Field(
        default=None, description="Column of the document ids (default: id, or the row number where there is none)"
    )
    text_column: str = Field(default="text", description="Column of the texts")
    title_column: str | None = Field(
        default=None, description="Column of the titles; `none` for no title (default: title)"
    )
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")
    skip_bad_rows: bool = Field(
        default=False,
        description="Leave bad rows out and list them in frame.rejects.jsonl instead of refusing the corpus",
    )
    unit: Literal["tokens", "chars"] = Field(
        default="tokens",
        description="Split by tokens at the ends of sentences, or into pieces of exactly so many characters",
    )
    split_over: int | None = Field(
        default=None,
        ge=1,
        description="Split texts that are longer than this (default: the model's longest input; 1024 characters)",
    )
    segment: int | None = Field(
        default=None,
        ge=1,
        description="Longest piece of a split text (default: the model's longest input; 100 characters)",
    )
    csv: bool = Field(default=False, description="Also write the frame as CSV beside the Parquet file")
    out: Path | None = Field(default=None, description="File to write (default: training/frame.parquet in $DOWSE_DATA)")
    force: bool = Field(default=False, description="Write the frame even if it is up to date; its queries are lost")


class QueriesSettings(BaseModel):
    """Who is asked for queries, and for which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    llm: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint of a language model, such as http://localhost:11434/v1 (Ollama, vLLM, "
        "llama.cpp); its key, where it needs one, stands in the variable DOWSE_LLM_KEY. Default with --llm-model: Ollama "
        "on this machine, or at OLLAMA_HOST",
    )
    llm_model: str | None = Field(
        default=None, description="Model at that endpoint, such as llama3 (default: the only one that it serves)"
    )
    llm_path: str | None = Field(
        default=None,
        description="Directory of a language model that is run in this process instead (safetensors; GPU if there is one)",
    )
    llm_wait: float = Field(
        default=0, ge=0, description="Seconds to wait for the endpoint to come up and to have the model"
    )
    count: int = Field(default=5, ge=1, le=5, description="Queries per row: a target, fewer are kept and counted")
    kinds: str = Field(
        default=",".join(KINDS),
        description="Kinds of query that the model is asked for, in turn: question, claim, title, keywords, search",
    )
    examples: str | None = Field(
        default=None,
        description='File with queries of the domain for the model to imitate: one a line, or {"query", "kind", "text"}',
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Requests at a time")
    batch_size: int = Field(default=16, ge=1, description="Prompts at a time with --llm-path")
    timeout: float = Field(default=120, gt=0, description="Seconds that one answer may take")
    retries: int = Field(
        default=5,
        ge=0,
        description="Further tries after a time-out, a lost connection, 429 or 5xx, each after a longer wait",
    )
    temperature: float = Field(default=0.8, ge=0, le=2, description="Chance in the model's answers; 0 for none")
    max_tokens: int = Field(default=512, ge=16, description="Longest answer, in tokens")
    limit_documents: int | None = Field(
        default=None, ge=1, description="Write queries for N documents only, drawn by --seed; the others stay without"
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything that is drawn")
    allow_missing: bool = Field(
        default=False, description="Write the frame even if some rows have no answer yet, instead of exit status 2"
    )
    force: bool = Field(default=False, description="Ask about every row again; the journal so far is kept as *.old")

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, kinds: str) -> str:
        chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()]
        if not chosen or not set(chosen) <= set(KINDS):
            raise ValueError(f"give one or more of {', '.join(KINDS)}, separated by commas")
        return ",".join(chosen)


class SplitSettings(BaseModel):
    """How documents are divided into those that are trained on and those that are asked about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(
        default=None,
        description="SQL statement whose rows are the documents, where the source is the URL of a database",
    )
    id_column: str | None = Field(
        default=None, description="Column of the document ids (default: id, or the row number where there is none)"
    )
    text_column: str = Field(default="text", description="Column of the texts")
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")
    skip_bad_rows: bool = Field(default=False, description="Leave bad rows out instead of refusing the corpus")
    dev: float = Field(default=0.1, ge=0, le=0.4, description="Share of the documents by which training is steered")
    test: float = Field(default=0.1, ge=0, le=0.4, description="Share of the documents that only the report is about")
    most_dev: int = Field(default=500, ge=1, description="Documents of dev, at most")
    most_test: int = Field(default=500, ge=1, description="Documents of test, at most")
    threshold: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Similarity (Jaccard, of runs of three words) from which two documents are near-duplicates",
    )
    seed: int = Field(default=0, ge=0, description="Seed of who goes where")


class FitSettings(BaseModel):
    """What every training can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=32, ge=1, description="Rows at a time, on each GPU")
    accumulate: int = Field(
        default=1, ge=1, description="Batches whose gradients are added up before a step; not one larger batch for mnr"
    )
    learning_rate: float = Field(default=2e-5, gt=0, description="Learning rate at its highest")
    warmup: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the training in which the learning rate rises, before it falls to 0",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay")
    epochs: float = Field(default=1, gt=0, description="Times that every row is seen")
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps, in place of --epochs; a few of them are a dry run"
    )
    budget: Annotated[str | None, BeforeValidator(checked_duration)] = Field(
        default=None,
        description="Time that the training may take, such as 90s, 10m or 1h: warm-up and decay follow the clock, the "
        "step in flight ends",
    )
    max_tokens: int | None = Field(
        default=None, ge=4, description="Tokens of a text that training reads (default: the model's longest input)"
    )
    seed: int = Field(default=42, ge=0, description="Seed of everything that is drawn")
    bf16: Literal["auto", "on", "off"] = Field(
        default="auto", description="Compute in 16-bit bfloat, weights stay in 32 bits: auto where the GPU can"
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps between evaluations on the dev split (default: ten in the training, in a fifth of its time)",
    )
    save_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints (default: ten in the training, or every ten minutes)"
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after N evaluations in a row without gain (default: never)"
    )
    report_to: Literal["none", "tensorboard", "trackio", "wandb", "mlflow"] = Field(
        default="none", description="Where losses and dev metrics go besides log.jsonl"
    )
    resume: bool = Field(default=False, description="Take up what was begun in --out from its last checkpoint")

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)


class TsdaeSettings(FitSettings):
    """How an encoder is pre-trained on the texts alone."""

    text_column: str = Field(default="text", description="Column of the texts")
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")
    model: str = Field(
        default="bert-base-uncased",
        description="BERT-like model to start from: a name on the Hub, or a directory of transformers or "
        "sentence-transformers",
    )
    pooling: Literal["cls", "mean"] | None = Field(
        default=None, description="How token vectors become one (default: the model's own; cls where it has none)"
    )
    deletion_ratio: float = Field(default=0.6, ge=0, lt=1, description="Share of the words that is deleted")
    batch_size: int = Field(default=8, ge=1, description="Texts at a time")
    learning_rate: float = Field(default=3e-5, gt=0, description="Learning rate at its highest")
    max_tokens: int | None = Field(
        default=128, ge=4, description="Tokens of a text that training reads; the model keeps its longest input"
    )


LossName = Literal[
    "mnr",
    "cached-mnr",
    "grouped-mnr",
    "symmetric-mnr",
    "gist",
    "margin-mse",
    "kl",
    "mse",
    "cosine",
    "cosent",
    "contrastive",
    "online-contrastive",
    "triplet",
    "tsdae",
]


class FinetuneSettings(FitSettings):
    """How an encoder is fine-tuned on examples."""

    model: str | None = Field(
        default=None,
        description="Model to start from: a directory or a name on the Hub (default: the live model, else "
        "all-MiniLM-L6-v2)",
    )
    loss: LossName = Field(default="mnr", description="Loss by its field name; trainer/README.md says what each needs")
    matryoshka: Lengths = Field(
        default=None, description="Lengths at which a prefix of the vector is trained to be of use, such as 384,256,128"
    )
    mini_batch_size: int = Field(
        default=32, ge=1, description="Rows in memory at a time with cached-mnr, whose --batch-size can then be large"
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="What cosines are divided by before the softmax (default: 0.05, a scale of 20; gist 0.01)",
    )
    teacher_temperature: float | None = Field(
        default=None,
        gt=0,
        description="What the teacher's scores are divided by with kl and margin-mse (default: from their range)",
    )
    margin: float | None = Field(
        default=None,
        gt=0,
        description="Margin of triplet and the contrastive losses, in cosine distance (default: 0.5)",
    )
    guide: Path | None = Field(
        default=None, description="Directory of the model that tells gist which negatives are false"
    )
    freeze: int | None = Field(
        default=None, ge=0, description="Leave the embeddings and the first N layers as they are (default: train all)"
    )

    @property
    def matryoshka_lengths(self) -> tuple[int, ...]:
        """The lengths of the trained prefixes; none without `--matryoshka`."""
        return lengths(self.matryoshka)


class FilterSettings(BaseModel):
    """Which queries are worth learning from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(default=None, description="Id of the index that is asked (default: indexes/CURRENT)")
    k: int = Field(
        default=3, ge=1, description="A query stays if its document is among the best K of the fused ranking"
    )
    split: Path | None = Field(
        default=None, description="Result of `trainer split`: take only queries of documents on one side of it"
    )
    side: Literal["train", "dev", "test"] = Field(default="train", description="Which side, with --split")


class NegativesSettings(BaseModel):
    """Which texts a model learns to tell from the answer, and who says how good they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str | None = Field(default=None, description="Id of the index that is searched (default: indexes/CURRENT)")
    negatives: int = Field(default=4, ge=1, le=100, description="Negatives per query; a query with fewer is left out")
    from_rank: int = Field(
        default=2, ge=1, description="First place of the fused ranking from which negatives are taken"
    )
    to_rank: int = Field(default=50, ge=1, description="Last place of the fused ranking from which negatives are taken")
    margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="How much less than the positive a negative must score: a share of what the positive scores above the "
        "average candidate. What scores more may be an answer too",
    )
    copy_cosine: float = Field(
        default=0.95, gt=0, le=2, description="Cosine to the positive from which a text is its copy and no negative"
    )
    sampling: Literal["top", "random"] = Field(
        default="top", description="Which of the texts that fit: those that score most, or any"
    )
    teacher: Path | None = Field(
        default=None, description="Directory of a cross-encoder that scores the texts (default: the fused score)"
    )
    split: Path | None = Field(
        default=None,
        description="Result of `trainer split`: take queries and negatives only from documents that are trained on",
    )
    seed: int = Field(default=0, ge=0, description="Seed of --sampling random")


class EmbedSettings(BaseModel):
    """What is embedded, by which model, and what is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = Field(
        default=None, description="File of the texts: one a line, or Parquet, CSV or JSON lines with --text-column"
    )
    text_column: str = Field(default="text", description="Column of the texts in --file")
    model: str | None = Field(
        default=None,
        description="Id of a model artifact, or directory of a sentence-transformers model (default: models/CURRENT)",
    )
    precision: Literal["fp32", "int8"] = Field(
        default="fp32", description="Weights of a model artifact: exact, or 8-bit integers (faster)"
    )
    out: Path = Field(
        default=Path("sample_embeddings.pt"),
        description="File to write: .pt (a PyTorch tensor), .npy (NumPy) or .parquet (text and embedding)",
    )
    similar: int | None = Field(
        default=None, ge=1, description="Print for each text the N others that are nearest to it, with their cosines"
    )


class RunSettings(BaseModel):
    """What is learned from, how long, and what is done with the result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(
        default=None, description="SQL statement whose rows are the documents, where CORPUS is the URL of a database"
    )
    id_column: str | None = Field(
        default=None, description="Column of the document ids (default: id, or the row number where there is none)"
    )
    text_column: str = Field(default="text", description="Column of the texts")
    title_column: str | None = Field(
        default=None, description="Column of the titles; `none` for no title (default: title)"
    )
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")
    skip_bad_rows: bool = Field(default=False, description="Leave bad rows out instead of refusing the corpus")
    language: str = Field(
        default="auto", description="Language of the corpus: auto, none, or an ISO 639-1 code such as en, es or de"
    )
    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance; without it the run learns from the texts alone",
    )
    queries: Path | None = Field(
        default=None,
        description="Queries of the labels: a file with id, text and perhaps split (train, dev, test); "
        "default: queries.parquet, .csv or .jsonl beside --qrels",
    )
    feedback: bool = Field(
        default=False,
        description="Labels from the service, in place of --qrels: what people clicked and graded (POST /feedback)",
    )
    llm: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint of a language model that writes queries, see `trainer queries` "
        "(default: none; queries are taken out of the texts)",
    )
    llm_model: str | None = Field(default=None, description="Model at that endpoint, such as llama3")
    llm_path: str | None = Field(default=None, description="Directory of a language model that is run in this process")
    llm_wait: float = Field(default=0, ge=0, description="Seconds to wait for the endpoint to come up")
    model: str | None = Field(
        default=None,
        description="Model to start from: a name on the Hub or a directory (default: what the live model was tuned "
        "from, else all-MiniLM-L6-v2)",
    )
    budget: Annotated[str, BeforeValidator(checked_duration)] = Field(
        default="15m", description="Time that learning may take, such as 90s, 5m or 1h; measuring comes on top"
    )
    layers: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Train the encoder's own layers too: auto does where there are labels and time enough",
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything that is drawn")
    force: bool = Field(default=False, description="Make the tuned model live whatever the verdict says")

    @field_validator("qrels", "queries")
    @classmethod
    def _file(cls, path: Path | None) -> Path | None:
        """Take an empty name and the null device, which docker-compose.yml mounts where no file is named, as none."""
        return None if path is not None and (path == Path() or path.is_char_device()) else path

    @property
    def budget_seconds(self) -> float:
        """The budget in seconds."""
        return parse_duration(self.budget)


class EvaluateSettings(BaseModel):
    """Which models are compared, on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(
        default=None, description="SQL statement whose rows are the documents, where CORPUS is the URL of a database"
    )
    id_column: str | None = Field(
        default=None, description="Column of the document ids (default: id, or the row number where there is none)"
    )
    text_column: str = Field(default="text", description="Column of the texts")
    title_column: str | None = Field(
        default=None, description="Column of the titles; `none` for no title (default: title)"
    )
    limit: int | None = Field(default=None, ge=1, description="Read only the first N rows")
    skip_bad_rows: bool = Field(default=False, description="Leave bad rows out instead of refusing the corpus")
    language: str = Field(
        default="auto", description="Language of the corpus: auto, none, or an ISO 639-1 code such as en, es or de"
    )
    qrels: Path | None = Field(
        default=None,
        description="Labels: a file with query_id, doc_id and relevance (default: questions about held-out documents)",
    )
    queries: Path | None = Field(
        default=None, description="Queries of the labels (default: queries.parquet, .csv or .jsonl beside --qrels)"
    )
    model: str | None = Field(default=None, description="Id of the model that is measured (default: models/CURRENT)")
    against: str | None = Field(
        default=None, description="Id of the model that it is compared with (default: what it was tuned from)"
    )
    seed: int = Field(default=0, ge=0, description="Seed of everything that is drawn")
    out: Path | None = Field(
        default=None, description="Directory for report.json and report.html (default: training/report in $DOWSE_DATA)"
    )
