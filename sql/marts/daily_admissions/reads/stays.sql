-- stays: one row a stay that mart.admissions shows; days are numbers, days since 1970-01-01, in the facility's zone.
-- days: admitted_at .. discharged_at
SELECT
    admitted_at,
    discharged_at,
    coalesce(service, '(unknown)') AS service,
    coalesce(admission_type, '(unknown)') AS admission_type,
    (admitted_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS admitted_day,
    (discharged_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS discharged_day,
    coalesce(died_in_hospital, false) AS died,
    discharged_at >= admitted_at AS has_length
FROM core.encounters
WHERE status IN ('open', 'discharged')
    AND source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
