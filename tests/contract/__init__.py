"""What the guard relies on in each outside part, written once and asked of fake and real alike.

A suite is a class with an abstract fixture `subject`; `test_fake.py` gives it the sandbox's app in
memory, `test_real.py` a real server. A difference between the two is a mistake in the sandbox.
"""
