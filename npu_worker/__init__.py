"""The worker: the one process that owns the device. It pulls batches from the broker and answers logits."""
