"""What is served: the public port for clients, the operators' port, and the pages of both."""
