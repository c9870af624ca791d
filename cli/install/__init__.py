"""``install-units`` and ``uninstall-units``: the systemd units and their environment file."""
