"""Contracts: what a topic carries, who owns it, and how a message is hashed, decoded and judged."""
