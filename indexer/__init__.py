"""The library at the centre of Dowse: artifacts, corpus, encoder, indexes, retrieval; and the program that builds an index."""

__version__ = "0.1.0"
