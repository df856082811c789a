"""An embedded Synapse, LiveKit and lk-jwt-service to try the guard out and to test it with.

Small Klein apps over plain state. They answer as the real ones do as far as the guard looks; the
contract tests (tests/contract) run on them and on the real ones.
"""
