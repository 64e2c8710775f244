-- The roles of the embedded server; safe to repeat. Run by a superuser in database postgres, once more at every start.
-- Passwords are not here: the stack generates them and sets them. On a server of your own, an administrator runs this
-- file, gives the roles passwords, makes database wardstream (owner wardstream_owner), and runs database.sql in it.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'wardstream_owner', 'wardstream_writer', 'wardstream_bi', 'wardstream_registry', 'wardstream_airflow'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I', role_name);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', role_name);
        -- times are stored and compared in UTC; a session that wants local time says so
        EXECUTE format('ALTER ROLE %I SET timezone = %L', role_name, 'UTC');
    END LOOP;
END
$$;

COMMENT ON ROLE wardstream_owner IS 'Owns schemas and tables: migrations, verify, rebuild';
COMMENT ON ROLE wardstream_writer IS 'The stream: writes history, core and ops';
COMMENT ON ROLE wardstream_bi IS 'Reports and dashboards: reads schema mart alone';
COMMENT ON ROLE wardstream_registry IS 'The schema registry, in its own database';
COMMENT ON ROLE wardstream_airflow IS 'Airflow, in its own database';
