DROP VIEW mart.diagnoses;
DROP TABLE core.diagnoses;
DROP TABLE IF EXISTS history.diagnoses;
