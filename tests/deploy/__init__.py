"""The deployer at work on a made-up host, with real processes."""
