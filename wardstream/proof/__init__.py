"""The proof: verify, digest and rebuild."""
