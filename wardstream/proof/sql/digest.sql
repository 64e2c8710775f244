-- How many rows {relation} has, and the sum of the first half of their SHA-256 as numbers of 128 bits: the same in any order of
-- the rows, and two of them cannot exchange values unseen, since each is hashed as a whole, as text in which null is
-- not the empty text. One sum of long numbers: a hash cut into integers would be computed once for each sum, or by one process.
SELECT count(*), coalesce(sum(('0x' || encode(substr(sha256(convert_to(ROW(t.*)::text, 'UTF8')), 1, 16), 'hex'))::numeric), 0)
FROM {relation} AS t
