"""The Schema Registry: its one client."""
