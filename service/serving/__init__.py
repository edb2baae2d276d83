"""What is live, and which thread works when.

searcher.py        follows indexes/CURRENT
model.py           the model and its report
writing.py         done and answered, or not done
live_documents.py  what is written is shown
queue.py           who may work now
batching.py        what waits, and goes together
tenants.py         the documents of a key
published.py       follows a CURRENT
"""
