"""The stream: decode on the executors, commit on the driver, lease of the one driver."""
