"""Command line of the generator: run `python -m generator` in the folder `client`."""

from generator import PACKAGE, generate

for name, text in generate().items():
    (PACKAGE / name).write_text(text, encoding="utf-8")
