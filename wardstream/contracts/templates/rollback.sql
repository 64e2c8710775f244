DROP VIEW mart.$topic;
DROP TABLE core.$topic;
