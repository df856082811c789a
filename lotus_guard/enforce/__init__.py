"""The engine: tokens judged, running calls kept within their rooms' policies, all on record."""
