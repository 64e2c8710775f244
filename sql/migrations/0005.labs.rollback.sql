DROP VIEW mart.labs;
DROP TABLE core.lab_results, history.labs;
