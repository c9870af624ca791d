"""The HTTP front: rerank APIs that programs already speak, over the same queue. Stateless."""
