-- depends: 0001.schemas-and-ops 0003.admissions 0004.diagnoses 0005.labs
-- The day's numbers: what the hospital is (zone, rule for same-day stays), which days were built, and the three tables.

CREATE TABLE ops.facility (
    one                boolean PRIMARY KEY DEFAULT true CHECK (one),
    timezone           text NOT NULL,
    same_day_stay_days integer NOT NULL CHECK (same_day_stay_days IN (0, 1)),
    since              bigint NOT NULL
);
COMMENT ON TABLE ops.facility IS 'One row: what every day depends on. `wardstream migrate` puts the settings here; commits and builds read it here, so that no two of them can differ.';
COMMENT ON COLUMN ops.facility.one IS 'Always true: there is one row.';
COMMENT ON COLUMN ops.facility.timezone IS 'Zone whose calendar days count, an IANA name (WARDSTREAM_FACILITY_TIMEZONE).';
COMMENT ON COLUMN ops.facility.same_day_stay_days IS 'Length in days of a stay that ends on the day it began: 1 as CMS counts, 0 as others do (WARDSTREAM_SAME_DAY_STAY_DAYS).';
COMMENT ON COLUMN ops.facility.since IS 'ops.commit_seq of the change that made the row what it is: every build with a smaller version is stale.';
GRANT SELECT ON ops.facility TO wardstream_writer;

CREATE TABLE ops.day_builds (
    mart_table text NOT NULL,
    day        date NOT NULL,
    version    bigint NOT NULL,
    as_of      date NOT NULL,
    built_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mart_table, day)
);
COMMENT ON TABLE ops.day_builds IS 'Days of the mart.daily_* tables that were built, and from what. A day without rows has its row here, too.';
COMMENT ON COLUMN ops.day_builds.mart_table IS 'Table in schema mart.';
COMMENT ON COLUMN ops.day_builds.day IS 'Calendar day in the facility''s zone.';
COMMENT ON COLUMN ops.day_builds.version IS 'The greatest ops.day_versions.version of the day among the core tables read, and at least ops.facility.since; 0 would be a day nobody marked.';
COMMENT ON COLUMN ops.day_builds.as_of IS 'What day it was in the facility when it was built: open stays are counted up to the day before.';
COMMENT ON COLUMN ops.day_builds.built_at IS 'Start of the transaction that put the rows in place.';
GRANT SELECT, INSERT, UPDATE ON ops.day_builds TO wardstream_writer;

-- A build reads core by day. An open stay has no discharge: IS NULL is found in the index as well.
CREATE INDEX encounters_admitted ON core.encounters (admitted_at);
CREATE INDEX encounters_discharged ON core.encounters (discharged_at);
CREATE INDEX movements_moved ON core.movements (moved_at);
CREATE INDEX diagnoses_coded ON core.diagnoses (coded_at);
CREATE INDEX lab_results_observed ON core.lab_results (observed_at);

CREATE TABLE mart.diagnosis_chapters (
    code_system    text NOT NULL,
    chapter        text NOT NULL,
    chapter_title  text NOT NULL,
    pattern        text NOT NULL,
    first_category text NOT NULL,
    last_category  text NOT NULL,
    PRIMARY KEY (code_system, chapter)
);
COMMENT ON TABLE mart.diagnosis_chapters IS 'Chapters of ICD-9-CM and ICD-10-CM (US government, public domain) by range of categories; titles in our own words.';
COMMENT ON COLUMN mart.diagnosis_chapters.code_system IS 'Code list, as in mart.diagnoses.';
COMMENT ON COLUMN mart.diagnosis_chapters.chapter IS 'Number of the chapter; V and E for the supplements of ICD-9-CM.';
COMMENT ON COLUMN mart.diagnosis_chapters.chapter_title IS 'What the chapter is about.';
COMMENT ON COLUMN mart.diagnosis_chapters.pattern IS 'Regular expression of the category at the beginning of a code.';
COMMENT ON COLUMN mart.diagnosis_chapters.first_category IS 'First category of the chapter; categories compare as text.';
COMMENT ON COLUMN mart.diagnosis_chapters.last_category IS 'Last category of the chapter.';
GRANT SELECT ON mart.diagnosis_chapters TO wardstream_writer, wardstream_bi;

INSERT INTO mart.diagnosis_chapters (code_system, chapter, chapter_title, pattern, first_category, last_category) VALUES
('ICD-9-CM', '1', 'Infections and parasites', '^[0-9]{3}', '001', '139'),
('ICD-9-CM', '2', 'Tumours', '^[0-9]{3}', '140', '239'),
('ICD-9-CM', '3', 'Hormones, nutrition, metabolism and immunity', '^[0-9]{3}', '240', '279'),
('ICD-9-CM', '4', 'Blood and the organs that form it', '^[0-9]{3}', '280', '289'),
('ICD-9-CM', '5', 'Mental disorders', '^[0-9]{3}', '290', '319'),
('ICD-9-CM', '6', 'Nervous system and sense organs', '^[0-9]{3}', '320', '389'),
('ICD-9-CM', '7', 'Circulatory system', '^[0-9]{3}', '390', '459'),
('ICD-9-CM', '8', 'Respiratory system', '^[0-9]{3}', '460', '519'),
('ICD-9-CM', '9', 'Digestive system', '^[0-9]{3}', '520', '579'),
('ICD-9-CM', '10', 'Kidneys, urinary tract and genitals', '^[0-9]{3}', '580', '629'),
('ICD-9-CM', '11', 'Pregnancy, birth and the weeks after', '^[0-9]{3}', '630', '679'),
('ICD-9-CM', '12', 'Skin', '^[0-9]{3}', '680', '709'),
('ICD-9-CM', '13', 'Muscles, bones and connective tissue', '^[0-9]{3}', '710', '739'),
('ICD-9-CM', '14', 'Malformations from birth', '^[0-9]{3}', '740', '759'),
('ICD-9-CM', '15', 'Conditions that begin around birth', '^[0-9]{3}', '760', '779'),
('ICD-9-CM', '16', 'Symptoms and findings without a clear cause', '^[0-9]{3}', '780', '799'),
('ICD-9-CM', '17', 'Injury and poisoning', '^[0-9]{3}', '800', '999'),
('ICD-9-CM', 'V', 'Circumstances that bring people to care', '^V[0-9]{2}', 'V01', 'V91'),
('ICD-9-CM', 'E', 'How an injury came about', '^E[0-9]{3}', 'E000', 'E999'),
('ICD-10-CM', '1', 'Infections and parasites', '^[A-Z][0-9][0-9A-Z]', 'A00', 'B99'),
('ICD-10-CM', '2', 'Tumours', '^[A-Z][0-9][0-9A-Z]', 'C00', 'D49'),
('ICD-10-CM', '3', 'Blood, the organs that form it, and immunity', '^[A-Z][0-9][0-9A-Z]', 'D50', 'D89'),
('ICD-10-CM', '4', 'Hormones, nutrition and metabolism', '^[A-Z][0-9][0-9A-Z]', 'E00', 'E89'),
('ICD-10-CM', '5', 'Mental and behavioural disorders', '^[A-Z][0-9][0-9A-Z]', 'F01', 'F99'),
('ICD-10-CM', '6', 'Nervous system', '^[A-Z][0-9][0-9A-Z]', 'G00', 'G99'),
('ICD-10-CM', '7', 'Eye', '^[A-Z][0-9][0-9A-Z]', 'H00', 'H59'),
('ICD-10-CM', '8', 'Ear', '^[A-Z][0-9][0-9A-Z]', 'H60', 'H95'),
('ICD-10-CM', '9', 'Circulatory system', '^[A-Z][0-9][0-9A-Z]', 'I00', 'I99'),
('ICD-10-CM', '10', 'Respiratory system', '^[A-Z][0-9][0-9A-Z]', 'J00', 'J99'),
('ICD-10-CM', '11', 'Digestive system', '^[A-Z][0-9][0-9A-Z]', 'K00', 'K95'),
('ICD-10-CM', '12', 'Skin', '^[A-Z][0-9][0-9A-Z]', 'L00', 'L99'),
('ICD-10-CM', '13', 'Muscles, bones and connective tissue', '^[A-Z][0-9][0-9A-Z]', 'M00', 'M99'),
('ICD-10-CM', '14', 'Kidneys, urinary tract and genitals', '^[A-Z][0-9][0-9A-Z]', 'N00', 'N99'),
('ICD-10-CM', '15', 'Pregnancy, birth and the weeks after', '^[A-Z][0-9][0-9A-Z]', 'O00', 'O9A'),
('ICD-10-CM', '16', 'Conditions that begin around birth', '^[A-Z][0-9][0-9A-Z]', 'P00', 'P96'),
('ICD-10-CM', '17', 'Malformations and chromosomes', '^[A-Z][0-9][0-9A-Z]', 'Q00', 'Q99'),
('ICD-10-CM', '18', 'Symptoms and findings without a clear cause', '^[A-Z][0-9][0-9A-Z]', 'R00', 'R99'),
('ICD-10-CM', '19', 'Injury and poisoning', '^[A-Z][0-9][0-9A-Z]', 'S00', 'T88'),
('ICD-10-CM', '20', 'How an injury came about', '^[A-Z][0-9][0-9A-Z]', 'V00', 'Y99'),
('ICD-10-CM', '21', 'Circumstances that bring people to care', '^[A-Z][0-9][0-9A-Z]', 'Z00', 'Z99'),
('ICD-10-CM', '22', 'For special purposes', '^[A-Z][0-9][0-9A-Z]', 'U00', 'U85');

CREATE TABLE mart.daily_admissions (
    day             date NOT NULL,
    service         text NOT NULL,
    admission_type  text NOT NULL,
    admissions      bigint NOT NULL,
    discharges      bigint NOT NULL,
    deaths          bigint NOT NULL,
    transfers       bigint NOT NULL,
    midnight_census bigint,
    los_stays       bigint NOT NULL,
    los_days_sum    bigint NOT NULL,
    alos_days       double precision,
    los_median_days double precision,
    los_p90_days    double precision,
    PRIMARY KEY (day, service, admission_type)
);
COMMENT ON TABLE mart.daily_admissions IS 'Stays by day, service and admission type: who came, left, died, moved, stayed over night. Only stays shown in mart.admissions; each counts under its present service and admission type.';
COMMENT ON COLUMN mart.daily_admissions.day IS 'Calendar day in the facility''s zone: of the admission, the discharge, the movement, or the midnight at its end.';
COMMENT ON COLUMN mart.daily_admissions.service IS 'Clinical service of the stay as known now; (unknown) where none was sent.';
COMMENT ON COLUMN mart.daily_admissions.admission_type IS 'Emergency, elective and so on, as sent; (unknown) where none was sent.';
COMMENT ON COLUMN mart.daily_admissions.admissions IS 'Stays admitted on the day.';
COMMENT ON COLUMN mart.daily_admissions.discharges IS 'Stays discharged on the day, deaths included.';
COMMENT ON COLUMN mart.daily_admissions.deaths IS 'Of the discharges, those of patients who died during the stay.';
COMMENT ON COLUMN mart.daily_admissions.transfers IS 'Movements of type transfer on the day, within their stay; a movement of an open stay counts once its day has come.';
COMMENT ON COLUMN mart.daily_admissions.midnight_census IS 'Stays in the house at 24:00 of the day: admitted on it or before, discharged after it. Null for today, whose 24:00 has not been. Of days to come only stays whose discharge is known count.';
COMMENT ON COLUMN mart.daily_admissions.los_stays IS 'Discharges with a length of stay. Those missing to discharges were sent with a discharge before the admission.';
COMMENT ON COLUMN mart.daily_admissions.los_days_sum IS 'Sum of the lengths of stay, days: discharge day minus admission day; a same-day stay counts ops.facility.same_day_stay_days.';
COMMENT ON COLUMN mart.daily_admissions.alos_days IS 'Average length of stay, days: los_days_sum / los_stays. Null without such a discharge.';
COMMENT ON COLUMN mart.daily_admissions.los_median_days IS 'Median length of stay, days, interpolated.';
COMMENT ON COLUMN mart.daily_admissions.los_p90_days IS '90th percentile of the length of stay, days, interpolated.';
GRANT SELECT ON mart.daily_admissions TO wardstream_writer, wardstream_bi;
GRANT INSERT, DELETE ON mart.daily_admissions TO wardstream_writer;

CREATE TABLE mart.daily_diagnoses (
    day               date NOT NULL,
    code_system       text NOT NULL,
    code              text NOT NULL,
    chapter           text NOT NULL,
    chapter_title     text NOT NULL,
    short_title       text,
    title             text,
    diagnoses         bigint NOT NULL,
    primary_diagnoses bigint NOT NULL,
    patients          bigint NOT NULL,
    encounters        bigint NOT NULL,
    PRIMARY KEY (day, code_system, code)
);
COMMENT ON TABLE mart.daily_diagnoses IS 'Coded diagnoses by day and code; cancelled ones are left out.';
COMMENT ON COLUMN mart.daily_diagnoses.day IS 'Calendar day in the facility''s zone: of the coding.';
COMMENT ON COLUMN mart.daily_diagnoses.code_system IS 'Code list, as sent; (unknown) where none was sent.';
COMMENT ON COLUMN mart.daily_diagnoses.code IS 'The code without a dot, as sent; (unknown) where none was sent.';
COMMENT ON COLUMN mart.daily_diagnoses.chapter IS 'Chapter of the code list by mart.diagnosis_chapters; (unknown) for other code lists and codes outside.';
COMMENT ON COLUMN mart.daily_diagnoses.chapter_title IS 'What the chapter is about.';
COMMENT ON COLUMN mart.daily_diagnoses.short_title IS 'Short title sent with the code; of several the last in text order.';
COMMENT ON COLUMN mart.daily_diagnoses.title IS 'Long title sent with the code; of several the last in text order.';
COMMENT ON COLUMN mart.daily_diagnoses.diagnoses IS 'Diagnoses with this code.';
COMMENT ON COLUMN mart.daily_diagnoses.primary_diagnoses IS 'Of these, the first of their stay (sequence 1).';
COMMENT ON COLUMN mart.daily_diagnoses.patients IS 'Different patients among them.';
COMMENT ON COLUMN mart.daily_diagnoses.encounters IS 'Different stays among them.';
GRANT SELECT ON mart.daily_diagnoses TO wardstream_writer, wardstream_bi;
GRANT INSERT, DELETE ON mart.daily_diagnoses TO wardstream_writer;

CREATE TABLE mart.daily_labs (
    day                              date NOT NULL,
    test_code                        text NOT NULL,
    unit                             text NOT NULL,
    test_name                        text,
    loinc_code                       text,
    results                          bigint NOT NULL,
    numeric_results                  bigint NOT NULL,
    abnormal                         bigint NOT NULL,
    abnormal_share                   double precision NOT NULL,
    median_value                     double precision,
    p90_value                        double precision,
    order_to_report_results          bigint NOT NULL,
    order_to_report_median_minutes   double precision,
    order_to_report_p90_minutes      double precision,
    order_to_report_within_60        double precision,
    collect_to_report_results        bigint NOT NULL,
    collect_to_report_median_minutes double precision,
    collect_to_report_p90_minutes    double precision,
    collect_to_report_within_60      double precision,
    PRIMARY KEY (day, test_code, unit)
);
COMMENT ON TABLE mart.daily_labs IS 'Laboratory results by day, test and unit; cancelled ones are left out. The unit is part of the grain: numbers in different units have no common median.';
COMMENT ON COLUMN mart.daily_labs.day IS 'Calendar day in the facility''s zone: of the clinically relevant time of the result.';
COMMENT ON COLUMN mart.daily_labs.test_code IS 'The laboratory''s code of the test; (unknown) where none was sent.';
COMMENT ON COLUMN mart.daily_labs.unit IS 'Unit of the numbers, as sent; (none) where none was sent.';
COMMENT ON COLUMN mart.daily_labs.test_name IS 'Name of the test; of several the last in text order.';
COMMENT ON COLUMN mart.daily_labs.loinc_code IS 'LOINC code, where known; of several the last in text order.';
COMMENT ON COLUMN mart.daily_labs.results IS 'Results, with or without a number.';
COMMENT ON COLUMN mart.daily_labs.numeric_results IS 'Results with a number.';
COMMENT ON COLUMN mart.daily_labs.abnormal IS 'Results that the laboratory flagged abnormal: abnormal, or one of L, H, LL, HH, <, >, A, AA of HL7 table 0078, in any case of letters.';
COMMENT ON COLUMN mart.daily_labs.abnormal_share IS 'abnormal / results, 0 to 1.';
COMMENT ON COLUMN mart.daily_labs.median_value IS 'Median of the numbers, in `unit`, interpolated.';
COMMENT ON COLUMN mart.daily_labs.p90_value IS '90th percentile of the numbers, in `unit`, interpolated.';
COMMENT ON COLUMN mart.daily_labs.order_to_report_results IS 'Results whose order and report times are known, the report not before the order.';
COMMENT ON COLUMN mart.daily_labs.order_to_report_median_minutes IS 'Median time from order to report, minutes, interpolated. Null where not known for any.';
COMMENT ON COLUMN mart.daily_labs.order_to_report_p90_minutes IS '90th percentile of it, minutes, interpolated. Null where not known for any.';
COMMENT ON COLUMN mart.daily_labs.order_to_report_within_60 IS 'Share of it that took 60 minutes or less, 0 to 1 (Hawkins 2007: 90 % is the usual target). Null where not known for any.';
COMMENT ON COLUMN mart.daily_labs.collect_to_report_results IS 'Results whose collection and report times are known, the report not before the collection.';
COMMENT ON COLUMN mart.daily_labs.collect_to_report_median_minutes IS 'Median time from collection to report, minutes, interpolated. Null where not known for any.';
COMMENT ON COLUMN mart.daily_labs.collect_to_report_p90_minutes IS '90th percentile of it, minutes, interpolated. Null where not known for any.';
COMMENT ON COLUMN mart.daily_labs.collect_to_report_within_60 IS 'Share of it that took 60 minutes or less, 0 to 1. Null where not known for any.';
GRANT SELECT ON mart.daily_labs TO wardstream_writer, wardstream_bi;
GRANT INSERT, DELETE ON mart.daily_labs TO wardstream_writer;
