"""The NPU backend: static shapes, compiled in a child process, tested at the start and watched in service; it fails closed."""
