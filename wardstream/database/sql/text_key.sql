-- A key that begins with ~ is a hash. Else the first colon ends the authority, and without a colon it is an id of the
-- default authority: so such an id that has a colon, or begins with ~, is written with its authority, too, and a colon
-- within an authority as %3A.
CREATE OR REPLACE FUNCTION mart.text_key(authority text, id text, most integer DEFAULT 200) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT
        CASE
            WHEN length(k.key) <= most THEN k.key
            ELSE '~' || left(encode(sha256(convert_to(k.key, 'UTF8')), 'hex'), greatest(most, {shortest}) - 1)
        END
    FROM (
        SELECT
            CASE
                WHEN authority = {default} AND strpos(id, ':') = 0 AND left(id, 1) <> '~' THEN id
                ELSE replace(replace(replace(authority, '%', '%25'), ':', '%3A'), '~', '%7E') || ':' || id
            END AS key
    ) AS k
);
COMMENT ON FUNCTION mart.text_key IS 'One text for an id and its authority: the id alone for the default authority of schemas/sources.yaml, else authority:id; where that has more characters than `most` (at least 33), ~ and a hash of it.'
