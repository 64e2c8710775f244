-- The entities of what is staged, where all of it is new.
SELECT DISTINCT authority, {key} FROM ({query}) AS q WHERE {key} IS NOT NULL
