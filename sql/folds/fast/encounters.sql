-- The fast path of core.encounters: stays of which nothing was ever cancelled, in one pass over their facts.
-- What a row means is said by ../encounters.sql, which folds every other stay, and by which `verify` judges this one.
SELECT
    (f.l).authority,
    (f.l).encounter_id,
    (f.l).patient_id,
    CASE
        WHEN (f.a).event_id IS NULL THEN 'unconfirmed'
        WHEN (f.d).event_id IS NOT NULL THEN 'discharged'
        ELSE 'open'
    END AS status,
    (f.a).event_time AS admitted_at,
    (f.d).event_time AS discharged_at,
    (f.d).death_time,
    (f.d).died_in_hospital,
    (f.d).discharge_disposition,
    (f.r).admission_type,
    (f.r).admission_source,
    (f.r).service,
    (f.r).service_since,
    (f.r).insurance,
    (f.r).language,
    (f.r).religion,
    (f.r).marital_status,
    (f.r).ethnicity,
    (f.r).admitting_diagnosis,
    (f.r).ed_arrival_time,
    (f.r).ed_departure_time,
    place.ward AS ward_now,
    place.care_unit AS care_unit_now,
    (f.l).source
FROM touched
CROSS JOIN LATERAL (
    SELECT
        (array_agg(h ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC))[1] AS l,
        (array_agg(h ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC)
            FILTER (WHERE h.kind IN ('admitted', 'updated')))[1] AS r,
        (array_agg(h ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC)
            FILTER (WHERE h.kind = 'admitted'))[1] AS a,
        (array_agg(h ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC)
            FILTER (WHERE h.kind = 'discharged'))[1] AS d,
        array_agg(h ORDER BY h.recorded_at DESC, h.source_seq DESC, h.event_id DESC, h.content_hash DESC)
            FILTER (WHERE h.kind IN ('admitted', 'transferred')) AS places
    FROM history.admissions AS h
    WHERE h.encounter_id = touched.key
        AND h.authority = touched.authority
    HAVING NOT bool_or(h.kind IN ('cancelled_admit', 'cancelled_transfer', 'cancelled_discharge'))
) AS f
LEFT JOIN LATERAL (
    SELECT p.ward, p.care_unit
    FROM (
        SELECT DISTINCT ON (p.movement_id, p.kind) p.kind, p.ward, p.care_unit, p.event_time, p.ordinality AS newest
        FROM unnest(f.places) WITH ORDINALITY AS p
        WHERE (f.d).event_id IS NULL
        ORDER BY p.movement_id, p.kind, p.ordinality
    ) AS p
    WHERE p.kind = 'transferred' OR p.ward IS NOT NULL
    ORDER BY p.event_time DESC, p.newest
    LIMIT 1
) AS place ON true
