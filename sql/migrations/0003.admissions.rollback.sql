DROP VIEW mart.admissions;
DROP TABLE core.movements, core.encounters;
DROP TABLE IF EXISTS history.admissions;
