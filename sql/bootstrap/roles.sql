-- The roles; safe to repeat. Run by a superuser, or on a managed server by its administrator (CREATEROLE, CREATEDB), in
-- any database. docs/postgresql.md has the whole sequence, passwords included. The embedded server runs this at every start.
-- wardstream_registry and wardstream_airflow are used by the embedded registry and Airflow alone.
DO $$
DECLARE
    role_name text;
    powers boolean;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'wardstream_owner', 'wardstream_writer', 'wardstream_bi', 'wardstream_registry', 'wardstream_airflow'
    ] LOOP
        SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls INTO powers
        FROM pg_roles WHERE rolname = role_name;
        IF powers IS NULL THEN
            EXECUTE format('CREATE ROLE %I', role_name);
        ELSIF powers THEN  -- somebody gave them; only who has them may take them away
            EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', role_name);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN', role_name);
        -- times are stored and compared in UTC; a session that wants local time says so
        EXECUTE format('ALTER ROLE %I SET timezone = %L', role_name, 'UTC');
    END LOOP;
    -- an administrator without superuser makes the database for wardstream_owner, and gives rights in it, as its member
    IF NOT pg_has_role('wardstream_owner', 'USAGE') THEN
        EXECUTE format('GRANT wardstream_owner TO %I', current_user);
    END IF;
END
$$;

COMMENT ON ROLE wardstream_owner IS 'Owns schemas and tables: migrations, verify, rebuild';
COMMENT ON ROLE wardstream_writer IS 'The stream: writes history, core and ops';
COMMENT ON ROLE wardstream_bi IS 'Reports and dashboards: reads schema mart alone';
COMMENT ON ROLE wardstream_registry IS 'The schema registry, in its own database';
COMMENT ON ROLE wardstream_airflow IS 'Airflow, in its own database';
