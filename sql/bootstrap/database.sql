-- Rights in database wardstream; safe to repeat. Run in that database after roles.sql, by who ran that.
-- By default everybody may connect and make temporary tables; here each role has to be named.
REVOKE ALL ON DATABASE wardstream FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- the writer stages each batch in a temporary table
GRANT CONNECT, TEMPORARY ON DATABASE wardstream TO wardstream_writer;
GRANT CONNECT ON DATABASE wardstream TO wardstream_bi;

-- a report that runs away is stopped before it holds back vacuum for hours
ALTER ROLE wardstream_bi IN DATABASE wardstream SET statement_timeout = '5min';
ALTER ROLE wardstream_bi IN DATABASE wardstream SET default_transaction_read_only = on;
