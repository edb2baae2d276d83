"""Publishing a masked-language model: content of the artifact, agreement with torch, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from tiny_bert import make_tokenizer
from transformers import AutoConfig, AutoModelForMaskedLM, BertForPreTraining

from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.masked_lm import GRAPH, MaskedModel
from trainer.models import masked_lm
from trainer.models.fill_mask import open_masked
from trainer.models.masked_lm import publish_mlm
from trainer.models.settings import PublishMlmSettings

SETTINGS = PublishMlmSettings()
TEXT = "The capital of France is [MASK]."


def test_the_artifact_holds_the_model_and_its_graph(masked_model, masked_data):
    """The published directory passes verification, lists its content, and is still a model that training can start from."""
    store = Store("masked", masked_data)
    live = store.current_id()
    manifest = store.verify(live)
    assert manifest.kind == "masked" and manifest.encoder is None
    assert manifest.counts["layers"] == manifest.counts["heads"] == 2
    assert manifest.counts["vocabulary"] == len(make_tokenizer())
    assert manifest.counts["max_tokens"] == 48
    assert manifest.config == {"base": masked_model.name}
    assert {"config.json", "model.safetensors", "tokenizer.json", GRAPH} <= set(manifest.files)
    again, loaded = BertForPreTraining.from_pretrained(store.path(live), output_loading_info=True)
    assert not loaded["missing_keys"]  # the next-sentence head too
    assert again.config.num_hidden_layers == 2


def test_the_graph_says_what_torch_says(masked_model, masked_data):
    """Logits, vectors and attentions of the graph are those of the original BERT with both heads."""
    reading = MaskedModel.open(Store("masked", masked_data).resolve(), threads=1).read(TEXT)
    model = BertForPreTraining.from_pretrained(masked_model, attn_implementation="eager").eval()
    with torch.no_grad():
        out = model(**make_tokenizer()(TEXT, return_tensors="pt"), output_hidden_states=True, output_attentions=True)
    assert reading.logits == pytest.approx(out.prediction_logits[0].numpy(), abs=1e-3)
    assert reading.vectors == pytest.approx(out.hidden_states[-1][0].numpy(), abs=1e-3)
    assert reading.attentions == pytest.approx(torch.stack(out.attentions, 1)[0].numpy(), abs=1e-4)


def test_publishing_twice_does_nothing_the_second_time(masked_model, masked_data, tmp_path):
    """The same files give the same artifact, unless --force asks for another; a report travels with its model."""
    data = shutil.copytree(masked_data, tmp_path / "data")
    first = publish_mlm(masked_model, SETTINGS, data)
    assert not first.fresh
    with_report = shutil.copytree(masked_model, tmp_path / masked_model.name)
    (with_report / "report").mkdir()
    (with_report / "report" / "report.json").write_text("{}")
    second = publish_mlm(with_report, PublishMlmSettings(force=True), data)
    assert second.fresh and second.manifest.fingerprint == first.manifest.fingerprint
    assert Store("masked", data).current_id() == second.manifest.id
    assert "report/report.json" in second.manifest.files


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "albert"])
def test_other_architectures_are_exported_too(architecture, tmp_path):
    """Any masked-language model of transformers is exported, also one without segments or with other names for sizes.

    No text is longer than its positions, of which RoBERTa's begin after that of padding.
    """
    sizes = {
        "roberta": {"num_hidden_layers": 3, "max_position_embeddings": 50, "type_vocab_size": 1, "hidden_size": 32},
        "distilbert": {"n_layers": 3, "max_position_embeddings": 48, "dim": 32, "n_heads": 2, "hidden_dim": 64},
        "albert": {"num_hidden_layers": 3, "max_position_embeddings": 48, "hidden_size": 32, "embedding_size": 16},
    }[architecture]
    common = {"num_attention_heads": 2, "intermediate_size": 64} if architecture != "distilbert" else {}
    config = AutoConfig.for_model(architecture, vocab_size=len(make_tokenizer()), pad_token_id=0, **sizes, **common)
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(tmp_path / "model")
    manifest = publish_mlm(tmp_path / "model", SETTINGS, tmp_path / "data").manifest
    assert (manifest.counts["layers"], manifest.counts["heads"]) == (3, 2)
    assert manifest.metrics["parity_hidden"] > 0.999
    longest = 49 if architecture == "roberta" else 48
    assert manifest.counts["max_tokens"] == longest
    for opened in (open_masked(str(tmp_path / "model")), open_masked(None, tmp_path / "data")):
        text = " ".join(["capital"] * (longest - 3) + ["[MASK]"])
        assert len(opened.read(text).pieces) == longest
        with pytest.raises(UserError, match=str(longest)):
            opened.read("capital " + text)


def test_a_graph_that_differs_is_not_published(masked_model, tmp_path, monkeypatch):
    """A graph whose numbers differ from torch's is not published."""
    run = masked_lm.torch_network

    def wrong(model):
        def network(*arrays):
            out = run(model)(*arrays)
            return out._replace(attentions=np.roll(out.attentions, 1, axis=-1))

        return network

    monkeypatch.setattr(masked_lm, "torch_network", wrong)
    with pytest.raises(UserError, match=r"differs from torch by .*not published"):
        publish_mlm(masked_model, SETTINGS, tmp_path)
    assert Store("masked", tmp_path).ids() == []


def test_a_sentence_encoder_is_refused(masked_model, tiny_model, tmp_path):
    """A model without a masked-language head would guess at random: it is refused, and so is a directory without a model."""
    encoder = shutil.copytree(tiny_model, tmp_path / "encoder")
    config = encoder / "tokenizer_config.json"
    assert json.loads(config.read_text())["mask_token"]
    with pytest.raises(UserError, match="no head that fills masks"):
        publish_mlm(encoder, SETTINGS, tmp_path / "data")
    with pytest.raises(UserError, match="no directory"):
        publish_mlm(tmp_path / "absent", SETTINGS, tmp_path / "data")
    broken = shutil.copytree(masked_model, tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    with pytest.raises(UserError, match="not loadable as a masked-language model"):
        publish_mlm(broken, SETTINGS, tmp_path / "data")
    (broken / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json: missing"):
        publish_mlm(broken, SETTINGS, tmp_path / "data")
