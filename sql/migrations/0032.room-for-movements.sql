-- depends: 0031.verified

-- A movement is updated when the next one of its stay is known: the end of its time in the ward, which no index holds. With
-- room on its page that writes no index (HOT). Pages that are there fill as before, until they are rewritten.
ALTER TABLE core.movements SET (fillfactor = 75);
