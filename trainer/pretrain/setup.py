"""Setup of a pre-training on all processes: model, batches, evaluator and number of steps, from settings and data."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from indexer.errors import UserError
from indexer.progress import stage
from trainer.models.load import positions_of
from trainer.pretrain.batches import Batcher, Masker, SpecialIds
from trainer.pretrain.data import PretrainData
from trainer.pretrain.examples import Recipe, count_blocks, make_examples, make_generator, plan_batches
from trainer.pretrain.initialise import (
    cooccurrence_vectors,
    initialise_mlm_head,
    initialise_nsp_head,
    initialise_segment_comparison,
)
from trainer.pretrain.loop import Job
from trainer.pretrain.model import BaseCheckpoint, new_model, set_dropout
from trainer.pretrain.objective import HeldOutEvaluator
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.tokens import count_frequencies, find_word_starts, to_fast_tokenizer

EPOCHS = 10.0
NEW_RATE, CHECKPOINT_RATE = 1e-3, 1e-4
"""Default learning rates of a new model and of one from a checkpoint."""
CPU_TOKENS, GPU_TOKENS = 1024, 65_536
"""Default tokens of a batch."""
CALIBRATION_BATCHES = 64
"""Batches on which the next-sentence head of a new model is scaled and centred."""
HELD_OUT_SEED = 2**31
"""Seed of cutting and masking held-out documents. It does not depend on `--seed`, which makes runs comparable."""
MAX_NEXT_SHARE = 0.6
"""Largest share of examples whose second segment follows; with a larger one there is too little to tell apart."""
PREPARE_TIMEOUT = timedelta(days=1)
"""Time that other processes wait for the first one, which learns the tokenizer and encodes the corpus."""


class Setup(NamedTuple):
    """The job, the tokenizer, and the number of steps; None for as many as the budget allows."""

    job: Job
    tokenizer: PreTrainedTokenizerFast
    steps: int | None


def make_accelerator(settings: PretrainSettings) -> Accelerator:
    """Join the processes that `accelerate launch` started, or be the only one."""
    cuda = torch.cuda.is_available()
    bf16 = cuda and torch.cuda.is_bf16_supported() if settings.bf16 == "auto" else settings.bf16 == "on"
    torch.set_float32_matmul_precision("high")
    return Accelerator(
        cpu=not cuda,
        mixed_precision="bf16" if bf16 else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PREPARE_TIMEOUT)],
    )


def set_up(
    settings: PretrainSettings, data: PretrainData, checkpoint: BaseCheckpoint | None, accelerator: Accelerator
) -> Setup:
    """Return model, batches, evaluator, tokenizer and number of steps.

    Raises:
        UserError: the sizes do not fit, or there is too little text for a batch.
    """
    pieces = data.tokenizer
    similarity = None
    if checkpoint:
        tokenizer, model = checkpoint.tokenizer, checkpoint.model
        log_frequency = np.log(count_frequencies(data.train, model.config.vocab_size))
        if not checkpoint.has_mlm_head and isinstance(model, BertForPreTraining):
            initialise_mlm_head(model, log_frequency)
    else:
        tokenizer = to_fast_tokenizer(pieces, settings.max_length)
        log_frequency = np.log(count_frequencies(data.train, pieces.get_vocab_size()))
        vectors = None
        if accelerator.is_main_process:  # the other processes receive its weights
            with stage("count which words stand together"):
                vectors = cooccurrence_vectors(data.train, pieces.get_vocab_size(), settings.hidden, settings.seed)
        model = new_model(settings, log_frequency, vectors, tokenizer.pad_token_id)
        if vectors is not None and not settings.no_nsp:
            similarity = initialise_segment_comparison(model, log_frequency, tokenizer.cls_token_id)
    set_dropout(model, settings.dropout)
    nsp = not settings.no_nsp and (checkpoint is None or checkpoint.has_nsp_head)
    recipe = Recipe(
        min(settings.max_length, positions_of(model, model.config)), nsp=nsp, short=settings.short, seed=settings.seed
    )
    on_gpu = accelerator.device.type == "cuda"
    batcher = Batcher(
        data.train,
        SpecialIds(tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id),
        make_masker(settings, tokenizer),
        nsp=nsp,
        multiple=8 if on_gpu or settings.compile else 1,
    )
    held_out = Batcher(data.held_out, batcher.special, batcher.masker, nsp=nsp)
    held_out_recipe = Recipe(recipe.length, nsp=nsp, short=settings.short, seed=HELD_OUT_SEED)
    evaluator = HeldOutEvaluator(held_out, held_out_recipe, log_frequency)
    batch_tokens = settings.batch_tokens or (GPU_TOKENS if on_gpu else CPU_TOKENS)
    rate = settings.learning_rate or (CHECKPOINT_RATE if checkpoint else NEW_RATE)
    job = Job(model, batcher, recipe, evaluator, max(batch_tokens, recipe.length), rate, nsp)
    steps = _count_steps(settings, job, accelerator.num_processes)
    if similarity is not None and isinstance(model, BertForPreTraining):
        batches = islice(batcher.stream(recipe, max(CPU_TOKENS, recipe.length), None), CALIBRATION_BATCHES)
        initialise_nsp_head(model, similarity, [batch for _, batch in batches])
    return Setup(job, tokenizer, steps)


def make_masker(settings: PretrainSettings, tokenizer: PreTrainedTokenizerFast) -> Masker:
    """Return the masker; random pieces are drawn from all but special and unused ones."""
    special = set(tokenizer.all_special_ids)
    vocabulary = tokenizer.get_vocab()
    words = [
        number for piece, number in vocabulary.items() if number not in special and not piece.startswith("[unused")
    ]
    return Masker(
        mask=tokenizer.mask_token_id,
        words=np.array(sorted(words)),
        continues=~find_word_starts(tokenizer.backend_tokenizer),
        share=settings.mask,
        whole_words=settings.whole_words,
    )


def _count_steps(settings: PretrainSettings, job: Job, processes: int) -> int | None:
    """Return the number of steps, or None for as many as the budget allows; raise `UserError` for too little text."""
    corpus, recipe = job.batcher.corpus, job.recipe
    first = make_examples(corpus, recipe, 0, 0)
    if not len(first.a) or not len(make_examples(job.evaluator.batcher.corpus, job.evaluator.recipe, 0, 0).a):
        raise UserError(
            "--held-out: too few documents for both training and evaluation; give more texts, or another share"
        )
    if recipe.nsp and first.is_next.mean() > MAX_NEXT_SHARE:
        raise UserError("next-sentence prediction needs texts of several documents; give more, or --no-nsp")
    if settings.max_steps:
        return settings.max_steps
    if settings.budget and not settings.epochs:
        return None
    block_batches = len(plan_batches(first, recipe.special, job.batch_tokens, make_generator(0)))
    blocks = count_blocks(corpus)
    epoch_batches = block_batches * blocks if blocks == 1 else block_batches * len(corpus.tokens) / first.tokens.sum()
    return max(ceil((settings.epochs or EPOCHS) * epoch_batches / (settings.accumulate * processes)), 1)
