"""Masked words and labels.

masked_lm.py          how BERT reads
masked_lm_schemas.py  reading schemas
masked_lm_answers.py  reading answers
classify.py           labels
classify_schemas.py   classify schemas
"""
