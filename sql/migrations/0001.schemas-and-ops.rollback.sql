DROP SCHEMA mart, ops, core, history CASCADE;
