"""Language models behind OpenAI-compatible endpoints.

client.py      asks for many rows at a time; time-outs, retries, the strictest form of answer that is supported
openai_api.py  the protocol
"""
