"""How fast Wardstream is, beside what people write by hand: `make bench`, `make bench-short`, docs/performance.md.

Not part of the installed package. Each run has a stack of its own and leaves nothing running.
"""
