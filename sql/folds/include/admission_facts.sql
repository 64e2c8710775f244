-- Part of a WITH inside LATERAL: the facts of one stay, touched.authority and touched.key, and which of them hold.
--   numbered      every fact, pos = its place in version order
--   cancellations what each of them cancels: the fact it names, or else the latest of its kind before it
--   standing      the facts that hold: of each fact its greatest version, if that comes after its last cancellation;
--                 every update (an update is never cancelled, and revives nothing)
-- A fact is the admission or the discharge of the stay, or one movement (movement_id). A cancellation cancels
-- the fact, hence every version of it up to itself; a later version of the fact counts again.
-- One stay at a time, by index: a plan over many stays would hang on how many rows the planner believes there to be.
numbered AS (
    SELECT
        h.*,
        row_number() OVER (ORDER BY h.recorded_at, h.source_seq, h.event_id, h.content_hash) AS pos,
        CASE h.kind WHEN 'transferred' THEN h.movement_id ELSE h.kind END AS fact,
        CASE h.kind
            WHEN 'cancelled_admit' THEN 'admitted'
            WHEN 'cancelled_transfer' THEN 'transferred'
            WHEN 'cancelled_discharge' THEN 'discharged'
        END AS cancels_kind
    FROM history.admissions AS h
    WHERE h.encounter_id = touched.key
        AND h.authority = touched.authority
        AND h.recorded_at <= %(known_at)s::timestamptz
),

preceded AS (
    SELECT
        n.*,
        max(n.pos) FILTER (WHERE n.kind = 'admitted') OVER before AS last_admitted,
        max(n.pos) FILTER (WHERE n.kind = 'transferred') OVER before AS last_transferred,
        max(n.pos) FILTER (WHERE n.kind = 'discharged') OVER before AS last_discharged
    FROM numbered AS n
    WINDOW before AS (ORDER BY n.pos)
),

cancellations AS (
    SELECT f.kind, f.fact, max(greatest(c.pos, f.pos)) AS pos
    FROM preceded AS c
    INNER JOIN numbered AS f
        ON f.kind = c.cancels_kind
        AND (
            (c.cancels_event_id IS NOT NULL AND f.event_id = c.cancels_event_id)
            OR (
                c.cancels_event_id IS NULL
                AND f.pos = CASE c.kind
                    WHEN 'cancelled_admit' THEN c.last_admitted
                    WHEN 'cancelled_transfer' THEN c.last_transferred
                    WHEN 'cancelled_discharge' THEN c.last_discharged
                END
            )
        )
    WHERE c.cancels_kind IS NOT NULL
    GROUP BY f.kind, f.fact
),

greatest_versions AS (
    SELECT DISTINCT ON (kind, fact) *
    FROM numbered
    WHERE kind IN ('admitted', 'transferred', 'discharged')
    ORDER BY kind, fact, pos DESC
),

judged AS (
    SELECT g.*, coalesce(c.pos >= g.pos, false) AS cancelled
    FROM greatest_versions AS g
    LEFT JOIN cancellations AS c USING (kind, fact)
    UNION ALL
    SELECT n.*, false AS cancelled
    FROM numbered AS n
    WHERE n.kind = 'updated'
),

standing AS (
    SELECT * FROM judged WHERE NOT cancelled
)
