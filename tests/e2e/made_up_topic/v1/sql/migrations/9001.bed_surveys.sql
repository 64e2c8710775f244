-- depends: 0001.schemas-and-ops

CREATE TABLE core.bed_surveys (
    authority text NOT NULL,
    survey_id text NOT NULL,
    patient_id text NOT NULL,
    status text NOT NULL,
    room text,
    bed_number integer,
    surveyed_on date,
    surveyed_at timestamptz NOT NULL,
    note text,
    source text NOT NULL,
    PRIMARY KEY (authority, survey_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON core.bed_surveys TO wardstream_writer;
