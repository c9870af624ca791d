"""The HTTP front: rerank APIs that programs already use, over the same queue. Stateless."""
