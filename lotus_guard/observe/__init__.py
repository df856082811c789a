"""What operators see: metrics, the log, the state of each dependency, the live rooms."""
