"""Judging in the JVM, held against the judge in Python. Spark alone is started."""
