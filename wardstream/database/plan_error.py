"""A module of its own: what only reads SQL files, as the parsing of a DAG does, loads no client of a server."""


class PlanError(Exception):
    """A SQL file has not the form that it must have; the message names file, line and what to write."""
