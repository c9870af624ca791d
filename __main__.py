"""``openvino-reranker`` and ``python -m openvino_reranker``."""

import signal
import sys


def main() -> int:
    """Run the program; return its exit status."""
    try:
        # As daemon.stop_signal.hold_interrupts, for its own import too: Ctrl-C in the middle of one can get lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        from .cli.main import main as run

        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
