-- transfers: one row a movement of type transfer within a stay that mart.admissions shows, under the stay's present
-- service. Movements of type admit and discharge repeat what the stay says. A movement of an open stay counts once its
-- day has come: the commit marks the days of an open stay up to that day and no further. One that a system of another
-- facility than the stay's sent does not count: a change of the stay marks days of the stay's facility alone.
-- days: moved_at
SELECT
    m.moved_at,
    coalesce(e.service, '(unknown)') AS service,
    coalesce(e.admission_type, '(unknown)') AS admission_type,
    (m.moved_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS day
FROM core.movements AS m
INNER JOIN core.encounters AS e USING (authority, encounter_id)
WHERE m.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
    AND e.source IN (SELECT source FROM ops.sources WHERE facility = %(facility)s)
    AND m.status = 'active'
    AND m.movement_type = 'transfer'
    AND e.status IN ('open', 'discharged')
    AND m.moved_at >= e.admitted_at
    AND (m.moved_at <= e.discharged_at OR (
        e.discharged_at IS NULL AND (m.moved_at AT TIME ZONE %(zone)s)::date <= %(today)s::date
    ))
