-- Rights in database wardstream; safe to repeat. Run by a superuser in that database, after roles.sql.
-- By default everybody may connect and make temporary tables; here each role has to be named.
REVOKE ALL ON DATABASE wardstream FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- large objects lie in no schema: whoever may call these may fill the disk
REVOKE ALL ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
-- and whoever may take the advisory locks may hold the one that orders all commits
DO $$
DECLARE
    lock_function regprocedure;
BEGIN
    FOR lock_function IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', lock_function);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO wardstream_owner, wardstream_writer', lock_function);
    END LOOP;
END
$$;

-- the writer stages each batch in a temporary table
GRANT CONNECT, TEMPORARY ON DATABASE wardstream TO wardstream_writer;
GRANT CONNECT ON DATABASE wardstream TO wardstream_bi;

-- a report that runs away is stopped before it holds back vacuum for hours
ALTER ROLE wardstream_bi IN DATABASE wardstream SET statement_timeout = '5min';
ALTER ROLE wardstream_bi IN DATABASE wardstream SET default_transaction_read_only = on;
