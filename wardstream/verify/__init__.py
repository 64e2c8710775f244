"""`wardstream verify`: nothing lost, nothing twice, nothing changed; see `check.verify`."""
