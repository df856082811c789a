"""What `deploy/install` and `deploy/auto-deploy` are made of: Python's standard library alone.

The system's python3 runs it before any virtual environment is there, and when the one that is
there is broken. Nothing here imports the guard.
"""
