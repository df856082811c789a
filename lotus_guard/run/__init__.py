"""The settings, and a guard put together from them; workers, systemd, an orderly stop."""
