"""Opens a reader, asks it about rows whose value is known, and measures which of its answers may fill cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from indexer.build.metadata.attribute import MIN_KNOWN, figures, is_empty
from indexer.build.metadata.readers.llm import LlmReader
from indexer.build.metadata.readers.prompt import Example, Prompt
from indexer.build.metadata.readers.reader import Answers, KeptReader
from indexer.build.metadata.readers.tokens import TokenReader
from indexer.build.metadata.readers.worth import Worth, measure_answers, unmeasured
from indexer.build.metadata.sample import Cells, Sample
from indexer.build.metadata.settings import ExtractSettings
from indexer.progress import Bar

MEASURED_ROWS = 500
"""Rows with a value of a column that a reader is asked about, at most: they come from all over the corpus."""
EXAMPLES = 3
NAMED_VALUES = 20
"""Different values that a column may have at most for a language model to be told them."""


@dataclass(frozen=True)
class ReadAttribute:
    """A column whose empty cells a reader fills. ``worth`` is None where too few rows, ``known``, have a value."""

    name: str
    known: int
    worth: Worth | None
    measured: bool

    @property
    def usable(self) -> bool:
        """Whether any cell can be filled."""
        return self.worth is not None and self.worth.usable

    def describe(self) -> str:
        """Say in one line what the column gets."""
        if self.worth is None:
            return (
                f"{self.name}: stays as it is, since only {self.known} rows have a value; {MIN_KNOWN} are needed to measure "
                "the model, or --min-precision 0 takes what it says"
            )
        if not self.measured:
            return f"{self.name}: empty cells are filled with what the model says, which is not measured"
        known = figures(self.worth.by_rule, "by answers that stand for a value")
        new = figures(self.worth.as_written, "by other answers, as they are written")
        if not self.usable:
            return f"{self.name}: stays as it is; the model is not right often enough ({known}; {new})"
        return f"{self.name}: empty cells are filled by the model ({known}; {new})"


def open_reader(
    settings: ExtractSettings, sample: Sample, data: Path, cores: int | None
) -> tuple[KeptReader, set[int]]:
    """Open the reader that the settings name; also return the rows that it knows as examples: they cannot measure it.

    Raises:
        UserError: there is no such model.
    """
    columns = list(sample.cells)
    if settings.token_model:
        return KeptReader(TokenReader.open(settings.token_model, columns, settings.labels(), cores), data), set()
    cells = [{name: column[row] for name, column in sample.cells.items()} for row in range(len(sample.documents))]
    filled = [sum(not is_empty(cell) for cell in row.values()) for row in cells]
    fullest = sorted(range(len(cells)), key=lambda row: -filled[row])[:EXAMPLES]
    examples = tuple(Example(sample.documents[row], cells[row]) for row in fullest if filled[row])
    reader = LlmReader(settings, Prompt(tuple(columns), _closed_values(sample.cells), examples))
    return KeptReader(reader, data), set(fullest)


def learn_reader(reader: KeptReader, sample: Sample, without: set[int], min_precision: float) -> list[ReadAttribute]:
    """Ask about rows whose value is known, and measure.

    Args:
        reader: who is asked.
        sample: documents from all over the corpus.
        without: rows that the reader knows.
        min_precision: least share of the filled cells that are right; with 0 nothing is measured.
    """
    known = {
        name: [row for row, cell in enumerate(column) if not is_empty(cell) and row not in without]
        for name, column in sample.cells.items()
    }
    values = {name: sorted({cell for cell in column if cell}) for name, column in sample.cells.items()}
    if not min_precision:
        return [
            ReadAttribute(name, len(rows), unmeasured(values[name]), measured=False) for name, rows in known.items()
        ]
    chosen = {name: _spread(rows) for name, rows in known.items() if len(rows) >= MIN_KNOWN}
    asked = sorted({row for rows in chosen.values() for row in rows})
    with Bar(f"measure {reader.name}", len(asked), "documents") as bar:
        answers = reader.read([sample.documents[row] for row in asked], bar.advance)
    said: dict[int, Answers] = {row: found or {} for row, found in zip(asked, answers, strict=True)}
    attributes: list[ReadAttribute] = []
    for name, rows in known.items():
        worth = None
        if name in chosen:
            cells = [sample.cells[name][row] or "" for row in chosen[name]]
            found = [said[row].get(name) for row in chosen[name]]
            worth = measure_answers(found, cells, min_precision, others=values[name])
        attributes.append(ReadAttribute(name, len(rows), worth, measured=True))
    return attributes


def _closed_values(cells: Cells) -> dict[str, list[str]]:
    """Return the values of columns that have few, the most frequent first.

    Of a column with many none are named: a model that copies them would be measured better than it is on others.
    """
    counts = {name: Counter(cell for cell in column if cell and cell.strip()) for name, column in cells.items()}
    return {
        name: [value for value, _ in count.most_common()]
        for name, count in counts.items()
        if 0 < len(count) <= NAMED_VALUES
    }


def _spread(rows: list[int]) -> list[int]:
    """Return at most `MEASURED_ROWS` of the rows, evenly over all."""
    if len(rows) <= MEASURED_ROWS:
        return rows
    return [rows[place * len(rows) // MEASURED_ROWS] for place in range(MEASURED_ROWS)]
