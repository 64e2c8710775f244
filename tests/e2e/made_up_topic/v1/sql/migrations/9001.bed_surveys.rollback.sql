DROP TABLE core.bed_surveys;
