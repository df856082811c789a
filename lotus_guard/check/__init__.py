"""What `lotus-guard check` looks at, one module each; `lotus_guard.check.all` puts them together.

Each look is a function that takes what it needs and gives findings. What goes wrong on the other
side is a finding, never an exception; what goes wrong on ours is made one by `check.all`.
"""
