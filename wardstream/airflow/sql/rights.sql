-- What is wrong with the roles' rights, one sentence a row; no row where all is as it should be. Run as the owner.
WITH role (name) AS (
    VALUES ('wardstream_owner'), ('wardstream_writer'), ('wardstream_bi')
),
known AS (
    SELECT role.name, pg_roles.oid, pg_roles.rolcanlogin, pg_roles.rolsuper
    FROM role
    LEFT JOIN pg_roles ON pg_roles.rolname = role.name
),
relation AS (
    SELECT c.oid, n.nspname AS schema, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('history', 'core', 'ops', 'mart') AND c.relkind IN ('r', 'p', 'v', 'm')
)
SELECT format('role %s does not exist', name)
FROM known
WHERE oid IS NULL
UNION ALL
SELECT format('role %s may not log in (NOLOGIN)', name)
FROM known
WHERE NOT rolcanlogin
UNION ALL
SELECT format('role %s is a superuser, whom no right holds back', name)
FROM known
WHERE rolsuper
UNION ALL
SELECT format('wardstream_bi can read %s and must see schema mart alone', relation.name)
FROM relation, known
WHERE known.name = 'wardstream_bi'
    AND relation.schema <> 'mart'
    AND has_any_column_privilege(known.oid, relation.oid, 'SELECT')
UNION ALL
SELECT format('wardstream_bi cannot read %s', relation.name)
FROM relation, known
WHERE known.name = 'wardstream_bi'
    AND relation.schema = 'mart'
    AND NOT (has_schema_privilege(known.oid, 'mart', 'USAGE') AND has_table_privilege(known.oid, relation.oid, 'SELECT'))
UNION ALL
SELECT format('wardstream_writer can change %s, which is append-only', relation.name)
FROM relation, known
WHERE known.name = 'wardstream_writer'
    AND relation.schema = 'history'
    AND has_table_privilege(known.oid, relation.oid, 'UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT format('wardstream_writer cannot add to %s', relation.name)
FROM relation, known
WHERE known.name = 'wardstream_writer'
    AND relation.schema = 'history'
    AND NOT has_table_privilege(known.oid, relation.oid, 'INSERT')
ORDER BY 1
