"""The panel, on which moderators see and set the rules of a room: its files, and what it asks us.

`files` serves the page. It reads and sets state as its user, by the user's own client or
homeserver; we have no part in that. `room` answers its one question, who is in the call and what we
did, to those whom the homeserver vouches for as moderators of that room; `asking` reads it.
"""
