DROP TABLE core.bed_surveys, history.bed_surveys;
