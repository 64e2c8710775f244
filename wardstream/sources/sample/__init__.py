"""The made-up sample: a small hospital's October."""
