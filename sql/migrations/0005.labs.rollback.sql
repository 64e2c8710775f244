DROP VIEW mart.labs;
DROP TABLE core.lab_results;
DROP TABLE IF EXISTS history.labs;
