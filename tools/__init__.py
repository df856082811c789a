"""What the project's pages are made with; no part of the guard."""
