DROP VIEW mart.diagnoses;
DROP TABLE core.diagnoses, history.diagnoses;
