"""What people write by hand for the same job, each a program of its own: a job as JSON on standard input, a result as
JSON on standard output (`job.py`). They know nothing of Wardstream, and keep less: one plain table a topic."""
