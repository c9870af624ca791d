"""A local rerank service: one process owns the NPU, everybody else asks it through a queue."""

__version__ = "0.1.0"
