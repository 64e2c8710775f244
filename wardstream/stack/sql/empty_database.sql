-- Before a restore, in its transaction: all that migrations made, and what yoyo remembers of them. Views that others made
-- over mart go with it; the runbook says so.
DROP SCHEMA IF EXISTS history, core, ops, mart CASCADE;
DROP TABLE IF EXISTS public._yoyo_log, public._yoyo_migration, public._yoyo_version, public.yoyo_lock,
    public.migration_lock;
