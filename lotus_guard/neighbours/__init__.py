"""The clients of the other servers: lk-jwt-service, LiveKit and Synapse, and HTTP for all three."""
