ALTER TABLE core.movements RESET (fillfactor);
