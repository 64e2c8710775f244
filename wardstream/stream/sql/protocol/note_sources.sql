-- A source that is new is stored as the file of sources says; `wardstream migrate` changes what is there.
INSERT INTO ops.sources (source, authority, ignore_case)
SELECT source, authority, ignore_case
FROM unnest(%(sources)s::text[], %(authorities)s::text[], %(ignore_case)s::boolean[])
    AS s (source, authority, ignore_case)
ON CONFLICT (source) DO NOTHING
