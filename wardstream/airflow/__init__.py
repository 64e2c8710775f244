"""What the DAG files use: thin DAGs, the work here."""
