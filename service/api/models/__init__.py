"""Routes of published models other than the encoder.

classify.py           POST /classify
masked_lm.py          masked words and how BERT reads
masked_lm_answers.py  a reading → response
masked_lm_schemas.py  requests and responses
"""
