"""Spark jobs, one file a job."""
