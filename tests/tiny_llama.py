"""A LLaMA of two layers with random weights and a tokenizer of the test words: a real model with meaningless answers."""

from __future__ import annotations

from pathlib import Path

import torch
from stories import WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<begin>{{ message['role'] }} {{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<begin>assistant {% endif %}"
)


def make_tiny_llama(folder: Path, *, template: str | None = TEMPLATE, context: int = 2048) -> Path:
    """Write a causal language model with its tokenizer into ``folder`` and return it."""
    torch.manual_seed(11)
    tokenizer = Tokenizer(models.BPE(unk_token="<unknown>"))
    tokenizer.normalizer = normalizers.Lowercase()
    # With a suffix for ends of words, the library would number its pieces in the order of a hash table: another model
    # in every process.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<begin>", "<end>", "<unknown>"]
    tokenizer.train_from_iterator(
        WORDS, trainers.BpeTrainer(vocab_size=250, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<begin> $A", special_tokens=[("<begin>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<begin>",
        eos_token="<end>",
        unk_token="<unknown>",
        chat_template=template,
    )
    fast.save_pretrained(folder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=context, bos_token_id=0, eos_token_id=1, pad_token_id=1,
            initializer_range=0.5,  # answers must depend on the prompt
        )
    )  # fmt: skip
    model.generation_config.do_sample = True
    model.save_pretrained(folder)
    return folder
