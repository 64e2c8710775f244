DROP VIEW mart.patients;
DROP TABLE core.patients, history.patients;
