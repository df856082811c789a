"""The checks of `lotus-guard check`, a module each; `lotus_guard.check.all` puts them together.

Each check is a function that takes what it needs and returns findings. What goes wrong on the other
side is a finding, never an exception; what goes wrong on ours is made one by `check.all`.
"""
