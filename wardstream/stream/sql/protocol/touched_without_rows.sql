-- The touched entities of which the fast path has given no row: those are folded by definition.
SELECT t.authority, t.key
FROM pg_temp.touched AS t
WHERE NOT EXISTS (SELECT FROM {folded} AS f WHERE (f.authority, f.{key}) = (t.authority, t.key))
