"""The broker: queues what callers ask, hands it to the worker in batches, and answers each request once.

It knows no model and no device. ``core`` decides, ``server`` does the I/O.
"""
