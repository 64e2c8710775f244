-- diagnoses: one row a coded diagnosis that holds.
-- days: coded_at
SELECT
    coded_at,
    (coded_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS day,
    coalesce(code_system, '(unknown)') AS code_system,
    coalesce(code, '(unknown)') AS code,
    short_title,
    title,
    sequence,
    authority,
    patient_id,
    encounter_id
FROM core.diagnoses
WHERE status <> 'cancelled'
    AND source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
