-- What only a superuser can add in database wardstream; safe to repeat. The embedded server runs it at every start.
-- Large objects lie in no schema: whoever may call these may fill the disk. docs/postgresql.md says what is left without.
REVOKE ALL ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
