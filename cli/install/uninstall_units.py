"""``uninstall-units``: remove the systemd units that ``install-units`` wrote, and nothing else."""

import argparse
import sys

from .install_paths import InstallPaths
from .install_paths import add_path_arguments as add_arguments
from .unit_files import is_ours

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Remove the units that ``install-units`` wrote; the environment file stays, as do drop-ins."""
    paths = InstallPaths(arguments.kind, arguments.root)
    enabled = [link for link in paths.units.glob("*.wants/openvino-reranker*") if link.is_symlink()]
    if enabled:
        print(
            f"openvino-reranker: the units are still enabled ({enabled[0]}); first run:\n"
            f"  {paths.systemctl} disable --now openvino-reranker.target openvino-reranker-worker.service",
            file=sys.stderr,
        )
        return 1
    folders = dict.fromkeys((paths.units, paths.sysusers))
    ours = [path for folder in folders for path in sorted(folder.glob("openvino-reranker*")) if is_ours(path)]
    try:
        for path in ours:
            if not arguments.dry_run:
                path.unlink()
            print(f"{'to remove' if arguments.dry_run else 'removed':<10} {path}")
    except OSError as error:
        print(f"openvino-reranker: cannot remove {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    if paths.environment.exists():
        print(f"{'kept':<10} {paths.environment} (yours; remove it yourself)")
    print(f"\nnext:\n  {paths.systemctl} daemon-reload" if ours else "no units written by install-units are there")
    return 0
