"""What users read, in a file for each language, and how these files are read and checked."""
