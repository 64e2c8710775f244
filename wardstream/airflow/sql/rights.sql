-- What is wrong with the roles' rights, one sentence a row; no row where all is as it should be. Run as the owner.
-- All that PostgreSQL can grant is compared, by its own books (ACLs, pg_shdepend, pg_auth_members), with what is expected here.
-- %(built)s: the tables of mart that the daily job fills.
WITH role (name) AS (
    VALUES ('wardstream_owner'), ('wardstream_writer'), ('wardstream_bi')
),
known AS (
    SELECT role.name, r.oid, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication, r.rolbypassrls
    FROM role
    LEFT JOIN pg_roles AS r ON r.rolname = role.name
),
held AS (
    SELECT name, oid FROM known WHERE name <> 'wardstream_owner' AND oid IS NOT NULL
),
space AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
),
relation AS (
    SELECT
        c.oid, n.nspname AS schema, c.relname, c.relkind, format('%%I.%%I', n.nspname, c.relname) AS name,
        coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
    FROM pg_class AS c
    JOIN space AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
),
-- what each role must be able to do, and no more
of_relations AS (
    SELECT held.name AS role, relation.oid, relation.name AS object, privilege
    FROM held
    CROSS JOIN relation
    CROSS JOIN LATERAL unnest(CASE
        WHEN relation.schema = 'mart' AND relation.relkind = 'S' THEN '{}'
        WHEN held.name = 'wardstream_bi' THEN CASE relation.schema WHEN 'mart' THEN '{SELECT}' ELSE '{}' END
        WHEN relation.relkind = 'S' THEN CASE relation.name WHEN 'ops.commit_seq' THEN '{USAGE}' ELSE '{}' END
        WHEN relation.schema = 'mart' AND relation.relname = ANY(%(built)s) THEN '{SELECT,INSERT,DELETE}'
        WHEN relation.schema = 'mart' THEN '{SELECT}'
        WHEN relation.schema = 'history' THEN '{SELECT,INSERT}'
        WHEN relation.schema = 'core' THEN '{SELECT,INSERT,UPDATE,DELETE}'
        WHEN relation.schema <> 'ops' THEN '{}'
        WHEN relation.relname IN ('facilities', 'hospital', 'calendars', 'folds') THEN '{SELECT}'
        WHEN relation.relname IN ('commit_lock', 'request_lock') THEN '{SELECT,UPDATE}'
        WHEN relation.relname IN (
            'streams', 'stream_leases', 'ledger', 'senders', 'day_versions', 'day_builds', 'alerts', 'stream_control'
        ) THEN '{SELECT,INSERT,UPDATE}'
        WHEN relation.relname = 'verified' THEN '{}'
        WHEN relation.relname = 'stale_days' THEN '{SELECT,INSERT,UPDATE,DELETE}'
        ELSE '{SELECT,INSERT}'
    END::text[]) AS privilege
),
expected AS (
    SELECT role, object, privilege FROM of_relations
    UNION ALL
    SELECT held.name, format('schema %%I', nspname), 'USAGE'
    FROM held, space
    WHERE nspname = 'mart' OR (held.name = 'wardstream_writer' AND nspname IN ('history', 'core', 'ops'))
    UNION ALL
    SELECT held.name, 'function ' || p.oid::regprocedure, 'EXECUTE'
    FROM held, pg_proc AS p
    WHERE p.oid = to_regprocedure('mart.text_key(text, text, integer)')
    UNION ALL
    SELECT held.name, 'database ' || current_database(), privilege
    FROM held, unnest(CASE held.name WHEN 'wardstream_bi' THEN '{CONNECT}' ELSE '{CONNECT,TEMPORARY}' END::text[]) AS privilege
),
-- what each role has been granted, by name or as everybody
granted AS (
    SELECT object, (aclexplode(acl)).*
    FROM (
        SELECT name, acl FROM relation
        UNION ALL
        SELECT format('column %%I of %%s', a.attname, r.name), a.attacl
        FROM relation AS r
        JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
        UNION ALL
        SELECT format('schema %%I', nspname), coalesce(nspacl, acldefault('n', nspowner)) FROM space
        UNION ALL
        SELECT 'function ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_proc AS p
        JOIN space ON space.oid = p.pronamespace
        UNION ALL
        SELECT 'database ' || datname, coalesce(datacl, acldefault('d', datdba))
        FROM pg_database
        WHERE datname = current_database()
    ) AS listed (object, acl)
),
of_role AS (
    SELECT held.name AS role, g.object, g.privilege_type AS privilege, g.is_grantable, g.grantee = 0 AS as_everybody
    FROM granted AS g
    JOIN held ON g.grantee IN (0, held.oid)
),
depends AS (
    SELECT held.name AS role, d.deptype, d.classid, pg_describe_object(d.classid, d.objid, d.objsubid) AS object
    FROM held
    JOIN pg_shdepend AS d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = held.oid
    -- the stream, while it runs, has temporary tables
    LEFT JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relpersistence = 't'
    WHERE d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND c.oid IS NULL
)
SELECT format('role %%s does not exist', name)
FROM known
WHERE oid IS NULL
UNION ALL
SELECT format('role %%s may not log in (NOLOGIN)', name)
FROM known
WHERE NOT rolcanlogin
UNION ALL
SELECT format('role %%s is a superuser, whom no right holds back', name)
FROM known
WHERE rolsuper
UNION ALL
SELECT format('role %%s has the attribute %%s', name, attribute)
FROM known
CROSS JOIN LATERAL (VALUES
    (rolcreatedb, 'CREATEDB'), (rolcreaterole, 'CREATEROLE'), (rolreplication, 'REPLICATION'), (rolbypassrls, 'BYPASSRLS')
) AS has (it, attribute)
WHERE it
UNION ALL
SELECT format('%%s is a member of role %%s', held.name, pg_get_userbyid(m.roleid))
FROM held
JOIN pg_auth_members AS m ON m.member = held.oid
UNION ALL
SELECT format('%%s owns %%s', role, object)
FROM depends
WHERE deptype = 'o'
UNION ALL
SELECT format('%%s has a right on %%s', role, object)
FROM depends
WHERE deptype = 'a' AND classid NOT IN (
    'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_proc'::regclass, 'pg_database'::regclass
)
UNION ALL
SELECT DISTINCT format(
    '%%s has %%s on %%s%%s, which it should not have', role, privilege, object, CASE WHEN as_everybody THEN ' as everybody' ELSE '' END
)
FROM of_role
WHERE NOT EXISTS (
    SELECT FROM expected AS e WHERE (e.role, e.object, e.privilege) = (of_role.role, of_role.object, of_role.privilege)
)
UNION ALL
SELECT format('%%s may pass on %%s on %%s', role, privilege, object)
FROM of_role
WHERE is_grantable
UNION ALL
SELECT format('%%s lacks %%s on %%s', role, privilege, object)
FROM expected
WHERE NOT EXISTS (
    SELECT FROM of_role WHERE (of_role.role, of_role.object, of_role.privilege) = (expected.role, expected.object, expected.privilege)
)
UNION ALL
SELECT format('%%s has EXECUTE on %%s, which it should not have', held.name, p.oid::regprocedure)
FROM held
JOIN pg_proc AS p ON p.pronamespace = 'pg_catalog'::regnamespace AND p.proacl IS NOT NULL
CROSS JOIN LATERAL aclexplode(p.proacl) AS g
WHERE g.grantee = held.oid AND (held.name = 'wardstream_bi' OR p.proname !~ '^pg_(try_)?advisory_')
ORDER BY 1
