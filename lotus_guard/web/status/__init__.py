"""The status page of the operators' port: a picture of the guard, kept live by server-sent events.

`picture` says what changed between two snapshots, `stream` tells it to those who watch, `pages`
serves both the stream and the files of the page. None of them knows what a guard is made of.
"""
