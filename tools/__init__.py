"""What maintainers run: a release, and pages that are made from records."""
