"""The stream: judging and committing in the driver, lease of the one driver."""
