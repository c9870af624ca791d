"""What a long-lived process needs: signals, log lines, socket activation, sd_notify(3), locks."""
