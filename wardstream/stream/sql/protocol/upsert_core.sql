-- What the fold gives replaces what core holds, where a byte of it differs.
INSERT INTO {core} AS c ({columns})
SELECT {columns} FROM {folded}
ON CONFLICT ({pk}) DO UPDATE
SET ({columns}) = ROW({excluded})
WHERE c *<> excluded
