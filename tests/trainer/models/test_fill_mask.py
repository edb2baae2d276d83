"""`python -m trainer fill-mask`: the words, the steps, JSON, and which model is used."""

import json
import re

import pytest
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from indexer.errors import UserError
from trainer.cli import app
from trainer.models.fill_mask import fill_mask
from trainer.models.settings import FillMaskSettings

FRANCE = "The capital of France is [MASK]."


def run_fill_mask(data, *texts, as_json=False, **settings):
    """Return what the command shows for texts."""
    lines = []
    fill_mask(texts, FillMaskSettings(**settings), as_json=as_json, show=lines.append, data=data)
    return lines


def test_the_best_words_come_first_with_their_probabilities(masked_data):
    """The command shows the requested number of words, the right one first, with falling probabilities."""
    (output,) = run_fill_mask(masked_data, FRANCE, top_k=3)
    lines = output.splitlines()
    assert lines[0] == FRANCE
    words = [re.fullmatch(r" +([\d.]+)%  (\S+)", line).groups() for line in lines[1:]]
    assert len(words) == 3 and words[0][1] == "paris"
    shares = [float(share) for share, _ in words]
    assert shares == sorted(shares, reverse=True) and shares[0] > 50


def test_several_masks_and_several_texts(masked_data):
    """Each mask has its own words, and each text its own line."""
    records = [
        json.loads(line)
        for line in run_fill_mask(masked_data, "He slept on the [MASK] of [MASK] river.", FRANCE, as_json=True, top_k=2)
    ]
    words = [[mask["best"][0]["word"] for mask in record["masks"]] for record in records]
    assert words == [["bank", "the"], ["paris"]]
    assert records[0]["filled"] == "he slept on the bank of the river."
    assert records[0]["masks"][0]["position"] == 5
    assert all(len(mask["best"]) == 2 and mask["entropy"] > 0 for mask in records[0]["masks"])


def test_explain_shows_the_steps(masked_data):
    """`--explain` shows pieces and ids, the masked position, logits, softmax, arg max and the decoded text."""
    (output,) = run_fill_mask(masked_data, "Lisbon is the capital of [MASK].", explain=True)
    assert re.search(r"^ +1 +\d+  lis$", output, re.MULTILINE)
    assert re.search(r"^ +2 +\d+  ##bon$", output, re.MULTILINE)
    assert re.search(r"^ +7 \* +4  \[MASK\]$", output, re.MULTILINE)
    (logit,) = re.findall(r"logit +(-?[\d.]+)  id +\d+$", output, re.MULTILINE)[:1]
    assert float(logit) > 0
    best = re.search(r"arg max: \d+ \((\S+)\)", output)[1]
    assert f"5. decoded: lisbon is the capital of {best}." in output
    assert re.search(r"entropy [\d.]+ nats of at most 3\.87", output)


def test_a_directory_and_its_published_form_agree(masked_model, masked_data):
    """A directory runs on torch and a published model on its graph, with the same result."""
    published = Store("masked", masked_data).current_id()
    answers = [
        json.loads(run_fill_mask(masked_data, FRANCE, as_json=True, model=model)[0])["masks"][0]["best"]
        for model in (str(masked_model), published, None)
    ]
    assert answers[1] == answers[2]
    for torch_word, graph_word in zip(answers[0], answers[1], strict=True):
        assert torch_word["word"] == graph_word["word"]
        assert torch_word["probability"] == pytest.approx(graph_word["probability"], abs=1e-4)


def test_what_the_operator_can_mend(masked_data, tmp_path):
    """A text without a mask, an unknown model and a data directory without a model give errors that say what to do."""
    with pytest.raises(UserError, match=r"no \[MASK\] in it"):
        run_fill_mask(masked_data, "The capital of France is Paris.")
    with pytest.raises(UserError, match="neither a directory nor the id"):
        run_fill_mask(masked_data, FRANCE, model="bert-base-uncased")
    with pytest.raises(UserError, match="python -m trainer publish-mlm"):
        run_fill_mask(tmp_path, FRANCE)


def test_the_command_reads_lines_from_stdin(masked_data, monkeypatch):
    """Without arguments each line of standard input is a text; only the answers go to standard output."""
    monkeypatch.setenv("DOWSE_DATA", str(masked_data))
    done = CliRunner().invoke(app, ["fill-mask", "--json", "--top-k", "1"], input=f"{FRANCE}\n\n{FRANCE}\n")
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["filled"] for line in done.stdout.splitlines()] == ["the capital of france is paris."] * 2
