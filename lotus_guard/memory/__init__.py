"""What a guard knows across a restart: SQLite for one guard, Redis for several."""
