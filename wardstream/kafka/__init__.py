"""Kafka: the one client factory, topics, publishing, and what the broker says of offsets."""
