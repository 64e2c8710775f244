DROP VIEW mart.patients;
DROP TABLE core.patients;
DROP TABLE IF EXISTS history.patients;
