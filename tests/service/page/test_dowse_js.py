"""The JavaScript client: used in Chromium against the real program, and its types checked by TypeScript."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "client" / "js" / "dowse.js"
TYPESCRIPT = ROOT / ".node" / "node_modules" / ".bin" / "tsc"


@pytest.fixture(scope="module")
def url(tiny_data, tmp_path_factory, publish, start_module_service):
    """The URL of a writable service over two documents."""
    data = shutil.copytree(tiny_data, tmp_path_factory.mktemp("js") / "data")
    publish({"id": ["a/b", ".."], "text": ["The cat sits.", "The dog runs."], "year": [1, 2]}, data)
    return start_module_service(data, "--writable").url


@pytest.fixture
def evaluate(open_page, url):
    """Runs the body of an asynchronous function that has a client of the page's own service."""
    page = open_page(url=url)
    start = "const { Dowse, Problem } = await import('/page/dowse.js'); const dowse = new Dowse(location.origin);"
    return lambda body: page.evaluate(f"async () => {{ {start} {body} }}")


def test_documents_are_written_found_read_and_deleted(evaluate):
    """Each kind of call with a real answer, also for ids that a path cannot hold."""
    found, texts, names, counts, left = evaluate("""
        const found = (await dowse.search("cat", { top_k: 1, filter: { must: [{ field: "year", lt: 5 }] } })).results;
        const texts = [(await dowse.document("a/b")).text, (await dowse.document("..")).text];
        const put = (await dowse.putDocuments([{ id: "new", text: "The king.", metadata: { year: 9 } }])).put;
        const names = [];
        for await (const { id } of dowse.documents()) names.push(id);
        const many = (await dowse.searchMany([{ query: "cat" }, { query: "dog" }])).responses.length;
        const similar = (await dowse.similar({ ids: ["new"] })).results.length;
        const clicked = (await dowse.feedback("cat", "a/b", { click: true })).stored;
        const { deleted } = await dowse.deleteByFilter({ must: [{ field: "year", eq: 9 }] });
        const gone = (await dowse.deleteDocuments(["new", "nope"])).deleted;
        const left = (await dowse.info()).index.documents;
        return [found, texts, names, [put, many, similar, clicked, deleted, gone], left];
    """)
    assert [result["id"] for result in found] == ["a/b"]
    assert texts == ["The cat sits.", "The dog runs."]
    assert names == ["..", "a/b", "new"]
    assert counts == [1, 2, 2, True, 1, 0]
    assert left == 2


def test_what_is_refused_is_a_problem(evaluate, open_page):
    """A problem has the fields that the service gave; without an answer it has no status."""
    assert open_page  # it would complain about the browser's own messages of failed requests
    fields = evaluate("""
        const problem = await new Dowse("", { fetch: async () => new Response(
            JSON.stringify({ type: "urn:dowse:problem:overloaded", status: 429, detail: "later", errors: [] }),
            { status: 429, headers: { "Retry-After": "40" } }) }).search("a").catch((problem) => problem);
        const silent = await new Dowse("", { fetch: () => Promise.reject(new TypeError()) }).info().catch((problem) => problem);
        return [problem instanceof Problem, problem.type, problem.status, problem.message, problem.retry, silent.status ?? null];
    """)
    assert fields == [True, "urn:dowse:problem:overloaded", 429, "later", 40, None]


def test_a_busy_service_is_asked_again(evaluate):
    """A request is sent again after the time that the service asks for, as often as it may."""
    assert evaluate("""
        const headers = [];
        const answers = [503, 429, 200].map((status) => new Response('{"ok": 1}', { status, headers: { "Retry-After": "0.01" } }));
        const fetch = async (_, options) => (headers.push(options.headers.Authorization), answers.shift());
        const answer = await new Dowse("", { key: "secret", fetch }).info();
        return [answer.ok, ...headers];
    """) == [1, *["Bearer secret"] * 3]


def test_the_client_is_the_file_that_the_page_uses():
    """There is one file, which the service serves and the client's folder names."""
    assert CLIENT.samefile(ROOT / "service" / "page" / "dowse.js")


@pytest.mark.skipif(
    not (TYPESCRIPT.exists() and shutil.which("node")),
    reason="scripts/suites installs TypeScript, where there is a node",
)
def test_the_types_are_right(tmp_path):
    """TypeScript finds no error in the client, and one in a program that uses it wrongly."""
    options = [
        "--noEmit",
        "--checkJs",
        "--allowJs",
        "--strict",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom,dom.iterable",
    ]
    shutil.copy(CLIENT, tmp_path / "dowse.js")
    use = 'import { Dowse } from "./dowse.js";\nconst found = await new Dowse().search("a", { top_k: %s });\nfound.results[0].id.length;\n'
    for value, status in (("3", 0), ('"three"', 2)):
        (tmp_path / "use.js").write_text(use % value, encoding="utf-8")
        checked = subprocess.run(
            [TYPESCRIPT, *options, "--module", "es2022", tmp_path / "use.js"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == status, checked.stdout
