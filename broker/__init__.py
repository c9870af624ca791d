"""The broker: queues requests, gives them to the worker in batches, and answers each exactly once.

It knows no model and no device. ``core`` decides, ``server`` does the I/O.
"""
