DROP TABLE mart.daily_labs, mart.daily_diagnoses, mart.daily_admissions, mart.diagnosis_chapters;
DROP INDEX core.lab_results_observed, core.diagnoses_coded, core.movements_moved, core.encounters_discharged, core.encounters_admitted;
DROP TABLE ops.day_builds, ops.facility;
