-- depends: $depends

CREATE TABLE core.$topic (
    authority text NOT NULL,
    $key text NOT NULL,
    patient_id text NOT NULL,
    encounter_id text,
    status text NOT NULL,
    observed_at timestamptz,
${of_table}    source text NOT NULL,
    recorded_at timestamptz NOT NULL,
    source_seq bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    content_hash bytea NOT NULL,
    PRIMARY KEY (authority, $key)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.$topic TO wardstream_writer;

CREATE VIEW mart.$topic AS
SELECT
    authority,
    $key,
    patient_id,
    encounter_id,
    status,
    observed_at,
    (observed_at AT TIME ZONE timezone)::date AS observed_day,
${of_view}    source,
    facility
FROM core.$topic
LEFT JOIN ops.calendars USING (source)
WHERE status <> 'cancelled';
COMMENT ON VIEW mart.$topic IS '$title, one row each; cancelled ones are hidden.';
GRANT SELECT ON mart.$topic TO wardstream_writer, wardstream_bi;
