"""Language model in this process: a local directory in transformers' format, run in batches."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, StoppingCriteriaList
from transformers.utils import logging

from indexer.errors import UserError
from indexer.inference.llm.client import Reply
from trainer.queries.llm.parse import Answer, outcome
from trainer.queries.llm.prompts import END_OF_COMPLETION, Message, Task, read_reply
from trainer.queries.settings import QueriesSettings


class LocalModel:
    """A causal language model with its tokenizer, in bfloat16 on a GPU, in float32 without one.

    Raises:
        UserError: the directory holds no such model.
    """

    def __init__(self, settings: QueriesSettings) -> None:
        path = Path(settings.llm_path or "")
        self._settings = settings
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # this command has its own
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        # A CPU gains nothing by a batch, which goes on until the longest of its answers has ended.
        self._batch_size = settings.batch_size or (16 if self._device == "cuda" else 1)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(
                path,
                local_files_only=True,
                use_safetensors=True,  # nothing is unpickled
                dtype=torch.bfloat16 if self._device == "cuda" else torch.float32,
            )
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"--llm-path {path}: no causal language model with safetensors ({reason}); give another directory"
            ) from error
        self._model = cast("Any", model).to(self._device).eval()
        self.name = path.resolve().name
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        self._start = str(self._tokenizer.bos_token or "")
        self._context = int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 30)

    def ask_all(self, tasks: Iterator[Task], done: Callable[[Task, Reply[Answer]], None]) -> None:
        """Ask the model for every task, in batches, and pass each reply to ``done``."""
        while batch := list(islice(tasks, self._batch_size)):
            completes = self._settings.completes
            prompts = [
                self._start + task.completion() if completes else self.prompt(task.messages("json")) for task in batch
            ]
            accepted = []
            for task, prompt in zip(batch, prompts, strict=True):
                tokens = len(self._tokenizer(prompt, add_special_tokens=False)["input_ids"])
                if tokens + self._settings.longest_answer > self._context:
                    error = f"{tokens} tokens and --max-tokens are more than the model's {self._context}"
                    done(task, Reply("refused", error=error))
                else:
                    accepted.append((task, prompt))
            if not accepted:
                continue
            texts = self.answer([prompt for _, prompt in accepted], seed=zlib.crc32(accepted[0][0].id.encode()))
            for (task, _), text in zip(accepted, texts, strict=True):
                answer = read_reply(text, task, completes=completes)
                done(task, Reply(outcome(len(answer.queries), len(task.slots)), answer, (text,)))

    def prompt(self, messages: list[Message]) -> str:
        """Return the messages as one text: by the chat template, or as plain text where the tokenizer has none."""
        plain = "\n\n".join(message["content"] for message in messages)
        if not self._tokenizer.chat_template:
            return f"{self._tokenizer.bos_token or ''}{plain}\n\n"
        for attempt in (messages, [{"role": "user", "content": plain}]):  # some templates refuse a system role
            try:
                return str(self._tokenizer.apply_chat_template(attempt, tokenize=False, add_generation_prompt=True))
            except TemplateError as error:
                reason = str(error)
        raise UserError(f"--llm-path {self.name}: its chat template fails ({reason[:200]}); give another model")

    @torch.inference_mode()
    def answer(self, prompts: list[str], seed: int) -> list[str]:
        """Return the model's continuations of ``prompts``, which contain the special tokens already."""
        batch = self._tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        batch = {name: batch[name].to(self._device) for name in ("input_ids", "attention_mask")}
        sampling = {"do_sample": True, "temperature": self._settings.temperature, "top_p": 0.95}
        stop = StoppingCriteriaList([self._ended(batch["input_ids"].shape[1])] if self._settings.completes else [])
        generation = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=self._settings.longest_answer,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._model.generation_config.eos_token_id or self._tokenizer.eos_token_id,
            **(sampling if self._settings.temperature else {"do_sample": False}),
        )
        torch.manual_seed(self._settings.seed + seed)
        try:
            tokens = self._model.generate(**batch, generation_config=generation, stopping_criteria=stop)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"--batch-size {self._batch_size}: does not fit into the GPU's memory; give a smaller one; the "
                "same command continues"
            ) from error
        return list(self._tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True))

    def _ended(self, prompt: int) -> Callable[..., torch.Tensor]:
        """Return a criterion that ends a completion where the model begins a text of its own.

        Args:
            prompt: length of the prompts in tokens.
        """

        def ended(tokens: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            texts = self._tokenizer.batch_decode(tokens[:, prompt:])
            return torch.tensor([any(end in text for end in END_OF_COMPLETION) for text in texts], device=tokens.device)

        return ended
