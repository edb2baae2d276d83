"""Benchmark of pre-training: Dowse against a plain loop over BertForPreTraining, in turns, on the same texts.

    python bench/pretrain.py CORPUS.parquet                                       4 layers of 256, 8,192 pieces
    python bench/pretrain.py CORPUS.parquet --layers 12 --hidden 768 --batch-tokens 65536

The plain loop is the simplest one: pairs of sentences in random order, padded to the longest of their batch and masked by
transformers' collator. `BertForPreTraining` is called with labels and scores the vocabulary at every position. Both loops
train the same model with the same optimizer, in batches of about as many tokens. Tokens are counted without padding. A
ratio is the median over the rounds. The masking statistics of 100,000 positions are printed too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from accelerate import Accelerator
from transformers import BertForPreTraining, DataCollatorForLanguageModeling

from indexer.progress import say
from trainer.pretrain.data import PretrainData, check_corpus, prepare
from trainer.pretrain.examples import make_examples, make_generator
from trainer.pretrain.loop import Job, make_optimizer
from trainer.pretrain.objective import Objective
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.setup import Setup, make_accelerator, set_up

POSITIONS = 100_000


def ours(setup: Setup, settings: PretrainSettings, accelerator: Accelerator) -> Callable[[float], tuple[int, float]]:
    """Return a function that trains for some seconds and returns the number of tokens and the seconds."""
    job = setup.job
    objective = Objective(job.model, nsp=job.nsp).to(accelerator.device).train()
    steps = make_optimizer(objective, settings, job.learning_rate)
    wrapped = accelerator.prepare_model(objective)
    stream = job.batcher.stream(job.recipe, job.batch_tokens, None)

    def work(seconds: float) -> tuple[int, float]:
        started, tokens = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            _, batch = next(stream)
            accelerator.backward(wrapped(batch.to(accelerator.device)).sum())
            step(objective, steps, settings)
            tokens += batch.tokens
        return tokens, finished(accelerator) - started

    return work


def plain(setup: Setup, settings: PretrainSettings, accelerator: Accelerator) -> Callable[[float], tuple[int, float]]:
    """Return the same for a plain loop."""
    job = setup.job
    model = BertForPreTraining(job.model.config).to(accelerator.device).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    steps = make_optimizer(model, settings, job.learning_rate)
    wrapped = accelerator.prepare_model(model)
    batches = padded(setup, settings)

    def work(seconds: float) -> tuple[int, float]:
        started, tokens = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            batch = next(batches)
            on_device = {name: value.to(accelerator.device) for name, value in batch.items()}
            accelerator.backward(wrapped(**on_device).loss)
            step(model, steps, settings)
            tokens += int(batch["attention_mask"].sum())
        return tokens, finished(accelerator) - started

    return work


def padded(setup: Setup, settings: PretrainSettings) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of examples in random order, as many rows as make about as many tokens as ours have."""
    job = setup.job
    corpus, special = job.batcher.corpus, job.batcher.special
    collate = DataCollatorForLanguageModeling(setup.tokenizer, mlm_probability=settings.mask)
    epoch = 0
    while True:
        spans = make_examples(corpus, job.recipe, epoch, 0)
        rows = max(round(job.batch_tokens / float((spans.tokens + job.recipe.special).mean())), 1)
        order = make_generator(0, epoch).permutation(len(spans.a))
        for start in range(0, len(order) - rows + 1, rows):
            chosen = spans.take(order[start : start + rows])
            features = []
            for a, a_end, b, b_end in zip(chosen.a, chosen.a_end, chosen.b, chosen.b_end, strict=True):
                first, second = corpus.tokens[a:a_end].tolist(), corpus.tokens[b:b_end].tolist()
                ids = [special.cls, *first, special.sep, *second, special.sep]
                types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
                features.append({"input_ids": ids, "token_type_ids": types, "attention_mask": [1] * len(ids)})
            yield {**collate(features), "next_sentence_label": torch.from_numpy(1 - chosen.is_next.astype(np.int64))}
        epoch += 1


def step(model: torch.nn.Module, steps: torch.optim.Optimizer, settings: PretrainSettings) -> None:
    """Clip the gradients and take an optimizer step."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    steps.step()
    steps.zero_grad(set_to_none=True)


def finished(accelerator: Accelerator) -> float:
    """Wait until the device has done its work, and return the time."""
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def statistics(job: Job) -> dict[str, float]:
    """Return the shares of the masking over `POSITIONS` positions of real batches, and how many are padding."""
    chosen = hidden = kept = special = ordinary = real = laid_out = follows = rows = 0
    mask, specials = job.batcher.masker.mask, set(job.batcher.special)
    for _, batch in job.batcher.stream(job.recipe, job.batch_tokens, None):
        read = batch.input_ids.view(-1)[batch.positions]
        chosen += len(read)
        hidden += int((read == mask).sum())
        kept += int((read == batch.labels).sum())
        special += sum(int(label) in specials for label in batch.labels)
        ordinary += batch.tokens - job.recipe.special * len(batch.is_next)
        real, laid_out = real + batch.tokens, laid_out + batch.input_ids.numel()
        follows, rows = follows + int(batch.is_next.sum()), rows + len(batch.is_next)
        if ordinary >= POSITIONS:
            break
    return {
        "chosen": chosen / ordinary,
        "shown as [MASK]": hidden / chosen,
        "kept": kept / chosen,
        "random": 1 - (hidden + kept) / chosen,
        "special tokens chosen": special,
        "second segment follows": follows / rows,
        "positions that are padding": 1 - real / laid_out,
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="Parquet, CSV or JSON lines with a column text")
    parser.add_argument("--layers", type=int, default=4, help="layers (default: 4)")
    parser.add_argument("--hidden", type=int, default=256, help="width (default: 256)")
    parser.add_argument("--max-length", type=int, default=128, help="longest input (default: 128)")
    parser.add_argument("--vocab-size", type=int, default=8192, help="pieces (default: 8192)")
    parser.add_argument("--batch-tokens", type=int, help="tokens of a batch (default: as `trainer pretrain`)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--seconds", type=float, default=10, help="of each loop in a round (default: 10)")
    arguments = parser.parse_args()
    sizes = {
        name: getattr(arguments, name) for name in ("layers", "hidden", "max_length", "vocab_size", "batch_tokens")
    }
    settings = PretrainSettings(**sizes)
    accelerator = make_accelerator(settings)
    with tempfile.TemporaryDirectory() as folder:
        prepare(check_corpus(arguments.corpus, settings), settings, Path(folder), None)
        setup = set_up(settings, PretrainData.open(Path(folder)), None, accelerator)
        shares = statistics(setup.job)
        loops = {make.__name__: make(setup, settings, accelerator) for make in (plain, ours)}
        rates: dict[str, list[float]] = {name: [] for name in loops}
        for number in range(arguments.rounds + 1):
            for name, work in loops.items():
                tokens, seconds = work(arguments.seconds)
                if number:
                    rates[name].append(tokens / seconds)
            say(f"round {number} of {arguments.rounds}" + ("" if number else " (warm-up)"))
    for name, values in rates.items():
        ratio = float(np.median(np.array(values) / np.array(rates["plain"])))
        print(f"{name:6} {np.median(values):9,.0f} tokens/s   {ratio:5.2f} times as fast")
    for name, share in shares.items():
        print(f"{name:28} {share:.4f}")


if __name__ == "__main__":
    main()
