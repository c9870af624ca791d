"""A local rerank service for RAG: one process owns the NPU, and every program on the machine shares it."""

__version__ = "0.2.0"
