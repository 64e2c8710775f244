DROP VIEW mart.admissions;
DROP TABLE core.movements, core.encounters, history.admissions;
