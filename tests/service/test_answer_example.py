"""The example of answers with citations, run as a user runs it: the real service, and a model behind OpenAI's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from stories import STORIES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model():
    """A server with OpenAI's chat completions: what it says is set by the test, what it was asked is kept."""

    class Handler(BaseHTTPRequestHandler):
        """Answers each POST."""

        def do_POST(self):
            self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": self.server.says},
            }
            body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.says = [], ""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(question, service, model):
    """What the script prints."""
    script = ROOT / "client" / "examples" / "answer.py"
    llm = f"http://127.0.0.1:{model.server_port}/v1"
    run = subprocess.run(
        [sys.executable, script, question, "--url", service.url, "--llm", llm, "--model", "m", "--passages", "3"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_an_answer_names_the_documents_that_it_rests_on(story_service, model):
    """The model gets the passages with their numbers; what it cites is listed by id, and a citation that it made up is gone."""
    model.says = "The king eats bread [2]. He is fond of it [2][9]. So is the queen [1][0]."
    printed = ask("who eats bread?", story_service, model)
    (asked,) = model.asked
    given = asked["messages"][-1]["content"]
    assert given.endswith("Question: who eats bread?")
    numbered = {number: given.index(f"[{number}] ") for number in (1, 2, 3)}
    assert sorted(numbered.values()) == list(numbered.values())
    answer, _, sources = printed.partition("\n\nSources:\n")
    assert answer == "The king eats bread [2]. He is fond of it [2]. So is the queen [1]."
    listed = [line.split()[:2] for line in sources.splitlines()]
    assert [number for number, _ in listed] == ["[2]", "[1]"]
    texts = {str(story[0]): story[2] for story in STORIES}
    for number, name in listed:
        assert texts[name] in given.split(number + " ")[1]


def test_an_answer_without_citations_is_not_trusted(story_service, model):
    """Where nothing is cited, the reader is told so."""
    model.says = "Bread is eaten by everybody [7]."
    printed = ask("who eats bread?", story_service, model)
    assert "[7]" not in printed
    assert "No passage is cited" in printed
