"""Learns an encoder from a corpus, and publishes encoders as model artifacts."""
