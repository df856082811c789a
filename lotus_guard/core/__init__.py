"""Values in, values out: no Twisted, no clock, no files."""
