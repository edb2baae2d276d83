"""Dowse in other frameworks, each in a module that needs only its own.

langchain.py    retriever, vector store and embeddings (extra: langchain)
haystack.py     document store and retriever (extra: haystack)
llama_index.py  retriever (extra: llama-index)
documents.py    what they share: documents with metadata of any names
"""
