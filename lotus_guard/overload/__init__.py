"""Bounds and fair shares: no client takes so much of the guard that others go without."""
