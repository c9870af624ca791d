"""``openvino-reranker`` and ``python -m openvino_reranker``."""

import sys


def main() -> int:
    """Run the program; return its exit status."""
    try:
        from .cli.main import main as run  # here, so that Ctrl-C during the imports ends as quietly as later

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
