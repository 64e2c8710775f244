-- depends: 0028.authorities
-- Days are those of a facility: each has a zone, each source belongs to one (schemas/sources.yaml), and facility is part
-- of the grain of what counts by day. The one facility of the version before becomes the default one, and nothing that was
-- built is lost; should the file call it otherwise, `wardstream migrate` renames it.

-- The table is kept and renamed: a view of somebody's own that asks for the one zone works as long as there is one.
ALTER TABLE ops.facility RENAME TO facilities;
INSERT INTO ops.facilities (timezone, same_day_stay_days, since)
SELECT '', 0, 0 WHERE NOT EXISTS (SELECT FROM ops.facilities);

CREATE TABLE ops.hospital (
    one                boolean PRIMARY KEY DEFAULT true CHECK (one),
    default_facility   text NOT NULL,
    same_day_stay_days integer NOT NULL CHECK (same_day_stay_days IN (0, 1))
);
INSERT INTO ops.hospital (default_facility, same_day_stay_days) SELECT 'main', same_day_stay_days FROM ops.facilities;

ALTER TABLE ops.facilities
    DROP COLUMN one,
    DROP COLUMN same_day_stay_days,
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    ADD CONSTRAINT facilities_pkey PRIMARY KEY (facility);
ALTER TABLE ops.facilities ALTER COLUMN facility DROP DEFAULT;
ALTER TABLE ops.hospital ADD FOREIGN KEY (default_facility) REFERENCES ops.facilities ON UPDATE CASCADE;
COMMENT ON TABLE ops.facilities IS 'What a day is in each facility. `wardstream migrate` puts here what schemas/sources.yaml and the settings say; commits and builds read it here, so that no two of them can differ.';
COMMENT ON COLUMN ops.facilities.facility IS 'Its name in schemas/sources.yaml.';
COMMENT ON COLUMN ops.facilities.timezone IS 'Zone whose calendar days count, an IANA name; of the default facility WARDSTREAM_FACILITY_TIMEZONE. Empty until `wardstream migrate` has put it there.';
COMMENT ON COLUMN ops.facilities.since IS 'ops.commit_seq of the change that made the row what it is, or of one of ops.hospital: every build of the facility with a smaller version is stale.';
COMMENT ON TABLE ops.hospital IS 'One row: what holds in all facilities.';
COMMENT ON COLUMN ops.hospital.one IS 'Always true: there is one row.';
COMMENT ON COLUMN ops.hospital.default_facility IS 'Facility of the sources for which schemas/sources.yaml names none.';
COMMENT ON COLUMN ops.hospital.same_day_stay_days IS 'Length in days of a stay that ends on the day it began: 1 as CMS counts, 0 as others do (WARDSTREAM_SAME_DAY_STAY_DAYS).';
GRANT SELECT ON ops.hospital TO wardstream_writer;

ALTER TABLE ops.sources
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    ADD FOREIGN KEY (facility) REFERENCES ops.facilities ON UPDATE CASCADE;
ALTER TABLE ops.sources ALTER COLUMN facility DROP DEFAULT;
COMMENT ON COLUMN ops.sources.facility IS 'Where it is: the days of its rows are those of this facility.';

CREATE VIEW ops.calendars AS
SELECT s.source, f.facility, f.timezone
FROM ops.sources AS s
INNER JOIN ops.facilities AS f USING (facility);
COMMENT ON VIEW ops.calendars IS 'One row a source: by which calendar the days of its rows are counted.';
COMMENT ON COLUMN ops.calendars.source IS 'The sending system, as in the column of that name in core.';
COMMENT ON COLUMN ops.calendars.facility IS 'Its facility.';
COMMENT ON COLUMN ops.calendars.timezone IS 'Zone of the facility.';
GRANT SELECT ON ops.calendars TO wardstream_writer;

-- A build that was begun before a facility was renamed cannot put rows under the old name: its days have none.
ALTER TABLE ops.day_versions
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT day_versions_pkey,
    ADD PRIMARY KEY (core_table, facility, day),
    ADD FOREIGN KEY (facility) REFERENCES ops.facilities ON UPDATE CASCADE;
ALTER TABLE ops.day_versions ALTER COLUMN facility DROP DEFAULT;
COMMENT ON COLUMN ops.day_versions.facility IS 'Whose day it is.';
ALTER TABLE ops.day_builds
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT day_builds_pkey,
    ADD PRIMARY KEY (mart_table, facility, day),
    ADD FOREIGN KEY (facility) REFERENCES ops.facilities ON UPDATE CASCADE;
ALTER TABLE ops.day_builds ALTER COLUMN facility DROP DEFAULT;
COMMENT ON COLUMN ops.day_builds.facility IS 'Whose day it is.';
ALTER TABLE ops.stale_days
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT stale_days_pkey,
    ADD PRIMARY KEY (mart_table, facility, day),
    ADD FOREIGN KEY (facility) REFERENCES ops.facilities ON UPDATE CASCADE;
ALTER TABLE ops.stale_days ALTER COLUMN facility DROP DEFAULT;
COMMENT ON COLUMN ops.stale_days.facility IS 'Whose day it is.';
COMMENT ON COLUMN ops.day_builds.version IS 'The greatest ops.day_versions.version of the day among the core tables read, and at least ops.facilities.since; 0 would be a day nobody marked.';

ALTER TABLE mart.daily_admissions
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT daily_admissions_pkey,
    ADD PRIMARY KEY (facility, day, service, admission_type);
ALTER TABLE mart.daily_admissions ALTER COLUMN facility DROP DEFAULT;
ALTER TABLE mart.daily_diagnoses
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT daily_diagnoses_pkey,
    ADD PRIMARY KEY (facility, day, code_system, code);
ALTER TABLE mart.daily_diagnoses ALTER COLUMN facility DROP DEFAULT;
ALTER TABLE mart.daily_labs
    ADD COLUMN facility text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT daily_labs_pkey,
    ADD PRIMARY KEY (facility, day, test_code, unit);
ALTER TABLE mart.daily_labs ALTER COLUMN facility DROP DEFAULT;

-- A row whose source nobody knows is shown, without a facility and a day.
CREATE OR REPLACE VIEW mart.patients AS
SELECT
    patient_id,
    gender,
    birth_date,
    death_date,
    death_date_hospital,
    death_date_registry,
    deceased,
    source,
    authority,
    facility
FROM core.patients
LEFT JOIN ops.calendars USING (source)
WHERE status <> 'cancelled';

CREATE OR REPLACE VIEW mart.admissions AS
SELECT
    encounter_id,
    patient_id,
    status,
    admitted_at,
    discharged_at,
    CASE
        WHEN discharged_at >= admitted_at
            THEN round((extract(epoch FROM discharged_at - admitted_at) / 86400)::numeric, 4)
    END AS length_of_stay_days,
    death_time,
    died_in_hospital,
    discharge_disposition,
    admission_type,
    admission_source,
    service,
    service_since,
    insurance,
    language,
    religion,
    marital_status,
    ethnicity,
    admitting_diagnosis,
    ed_arrival_time,
    ed_departure_time,
    ward_now,
    care_unit_now,
    source,
    (admitted_at AT TIME ZONE timezone)::date AS admitted_day,
    (discharged_at AT TIME ZONE timezone)::date AS discharged_day,
    authority,
    facility
FROM core.encounters
LEFT JOIN ops.calendars USING (source)
WHERE status IN ('open', 'discharged');

CREATE OR REPLACE VIEW mart.diagnoses AS
SELECT
    diagnosis_id,
    patient_id,
    encounter_id,
    status,
    coded_at,
    code,
    code_system,
    sequence,
    short_title,
    title,
    source,
    (coded_at AT TIME ZONE timezone)::date AS coded_day,
    authority,
    facility
FROM core.diagnoses
LEFT JOIN ops.calendars USING (source)
WHERE status <> 'cancelled';

CREATE OR REPLACE VIEW mart.labs AS
SELECT
    lab_result_id,
    patient_id,
    encounter_id,
    status,
    observed_at,
    test_code,
    test_name,
    specimen,
    category,
    loinc_code,
    value_text,
    value_number,
    unit,
    flag,
    ordered_at,
    collected_at,
    reported_at,
    source,
    (observed_at AT TIME ZONE timezone)::date AS observed_day,
    authority,
    facility
FROM core.lab_results
LEFT JOIN ops.calendars USING (source)
WHERE status <> 'cancelled';

-- A driver of the version before knows no facility. Its commit is waited for, and its next one is fenced.
LOCK TABLE ops.commit_lock IN EXCLUSIVE MODE;
UPDATE ops.streams SET generation = generation + 1;
