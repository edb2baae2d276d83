"""What was asked last, so that it need not be worked out again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Recent(Generic[Answer]):
    """Answers by their question; the one that was not asked for the longest time goes first. Safe to use from threads.

    Args:
        most: how many answers are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, question: str, work_out: Callable[[], Answer]) -> Answer:
        """Return the answer that is kept, or work it out; two threads that ask at once may both do so."""
        with self._lock:
            if question in self._answers:
                self._answers.move_to_end(question)
                return self._answers[question]
        answer = work_out()
        with self._lock:
            self._answers[question] = answer
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        return answer
