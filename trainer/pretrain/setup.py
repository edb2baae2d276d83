"""From settings and prepared texts to what the loop of pre-training needs, the same on all processes."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from transformers import BertForPreTraining, PreTrainedModel, PreTrainedTokenizerFast

from indexer.errors import UserError
from indexer.progress import stage
from trainer.pretrain.batches import Batcher, Masker, Special
from trainer.pretrain.data import PretrainData
from trainer.pretrain.examples import Recipe, batches, blocks, examples, generator
from trainer.pretrain.initialise import compare_segments, read_similarity, start_head, vectors
from trainer.pretrain.loop import Job
from trainer.pretrain.model import Checkpoint, new_model, set_dropout
from trainer.pretrain.objective import HeldOutEvaluator
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.tokens import fast_tokenizer, frequencies, word_starts

EPOCHS = 10.0
NEW_RATE, CHECKPOINT_RATE = 1e-3, 1e-4
CPU_TOKENS, GPU_TOKENS = 1024, 65_536
COMPARED = 64
"""Batches by which a new model sets the level from which one segment is said to follow another."""
WATCHED_SEED = 2**31
"""What held-out documents are cut and masked by, whatever `--seed` is, so that runs can be compared."""
MOST_NEXT = 0.6
"""Share of the examples whose second segment follows, beyond which there is nothing to be told apart."""
PREPARING = timedelta(days=1)
"""How long other processes wait for the first one, which learns the tokenizer and encodes the corpus."""


class Setup(NamedTuple):
    """What is trained, its tokenizer, and its steps; None for as many as the budget allows."""

    job: Job
    tokenizer: PreTrainedTokenizerFast
    steps: int | None


def processes(settings: PretrainSettings) -> Accelerator:
    """Join the processes that `accelerate launch` has started, or be the only one."""
    cuda = torch.cuda.is_available()
    half = cuda and torch.cuda.is_bf16_supported() if settings.bf16 == "auto" else settings.bf16 == "on"
    torch.set_float32_matmul_precision("high")
    return Accelerator(
        cpu=not cuda,
        mixed_precision="bf16" if half else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PREPARING)],
    )


def set_up(
    settings: PretrainSettings, material: PretrainData, checkpoint: Checkpoint | None, accelerator: Accelerator
) -> Setup:
    """Return what the loop needs.

    Raises:
        UserError: the sizes do not fit, or there is too little text for a batch.
    """
    pieces = material.tokenizer
    compared = None
    if checkpoint:
        tokenizer, model = checkpoint.tokenizer, checkpoint.model
        share = np.log(frequencies(material.train, model.config.vocab_size))
        if not checkpoint.head and isinstance(model, BertForPreTraining):
            start_head(model, share)
    else:
        tokenizer = fast_tokenizer(pieces, settings.max_length)
        share = np.log(frequencies(material.train, pieces.get_vocab_size()))
        known = None
        if accelerator.is_main_process:  # the others are given its weights
            with stage("count which words stand together"):
                known = vectors(material.train, pieces.get_vocab_size(), settings.hidden, settings.seed)
        model = new_model(settings, share, known, tokenizer.pad_token_id)
        compared = None if known is None or settings.no_nsp else compare_segments(model, share, tokenizer.cls_token_id)
    set_dropout(model, settings.dropout)
    nsp = not settings.no_nsp and (checkpoint is None or checkpoint.nsp)
    recipe = Recipe(_length(settings, model), nsp=nsp, short=settings.short, seed=settings.seed)
    on_gpu = accelerator.device.type == "cuda"
    batcher = Batcher(
        material.train,
        Special(tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id),
        masker(settings, tokenizer),
        nsp=nsp,
        multiple=8 if on_gpu or settings.compile else 1,
    )
    watched = Batcher(material.held_out, batcher.special, batcher.masker, nsp=nsp)
    watch = HeldOutEvaluator(watched, Recipe(recipe.length, nsp=nsp, short=settings.short, seed=WATCHED_SEED), share)
    room = settings.batch_tokens or (GPU_TOKENS if on_gpu else CPU_TOKENS)
    rate = settings.learning_rate or (CHECKPOINT_RATE if checkpoint else NEW_RATE)
    job = Job(model, batcher, recipe, watch, max(room, recipe.length), rate, nsp)
    steps = _steps(settings, job, accelerator.num_processes)
    if compared is not None and isinstance(model, BertForPreTraining):
        some = islice(batcher.stream(recipe, max(CPU_TOKENS, recipe.length), None), COMPARED)
        read_similarity(model, compared, [batch for _, batch in some])
    return Setup(job, tokenizer, steps)


def masker(settings: PretrainSettings, tokenizer: PreTrainedTokenizerFast) -> Masker:
    """Return what masks: random pieces are any but special and unused ones."""
    special = set(tokenizer.all_special_ids)
    named = tokenizer.get_vocab()
    words = [number for piece, number in named.items() if number not in special and not piece.startswith("[unused")]
    return Masker(
        mask=tokenizer.mask_token_id,
        words=np.array(sorted(words)),
        continues=~word_starts(tokenizer.backend_tokenizer),
        share=settings.mask,
        whole_words=settings.whole_words,
    )


def _length(settings: PretrainSettings, model: PreTrainedModel) -> int:
    """Return the longest input; architectures that number positions from behind the padding have fewer of them."""
    config = model.config
    behind = 0 if config.model_type == "bert" else (config.pad_token_id or 0) + 1
    return min(settings.max_length, int(config.max_position_embeddings) - behind)


def _steps(settings: PretrainSettings, job: Job, parallel: int) -> int | None:
    corpus, recipe = job.batcher.corpus, job.recipe
    first = examples(corpus, recipe, 0, 0)
    if not len(first.a) or not len(examples(job.watch.batcher.corpus, job.watch.recipe, 0, 0).a):
        raise UserError(
            "--held-out: too few documents to learn from some and to measure on others; give more texts, or another share"
        )
    if recipe.nsp and first.is_next.mean() > MOST_NEXT:
        raise UserError("next-sentence prediction needs texts of several documents; give more, or --no-nsp")
    if settings.max_steps:
        return settings.max_steps
    if settings.budget and not settings.epochs:
        return None
    in_block = len(batches(first, recipe.special, job.room, generator(0)))
    epoch = in_block * blocks(corpus) if blocks(corpus) == 1 else in_block * len(corpus.tokens) / first.tokens.sum()
    return max(ceil((settings.epochs or EPOCHS) * epoch / (settings.accumulate * parallel)), 1)
