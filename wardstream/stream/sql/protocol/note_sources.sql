-- A source that is new is stored as the file of sources says; `wardstream migrate` changes what is there.
INSERT INTO ops.sources (source, authority, ignore_case, facility)
SELECT source, authority, ignore_case, facility
FROM unnest(%(sources)s::text[], %(authorities)s::text[], %(ignore_case)s::boolean[], %(facilities)s::text[])
    AS s (source, authority, ignore_case, facility)
ON CONFLICT (source) DO NOTHING
