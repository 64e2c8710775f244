"""MIMIC-III as events, at its own dates or moved to the present."""
