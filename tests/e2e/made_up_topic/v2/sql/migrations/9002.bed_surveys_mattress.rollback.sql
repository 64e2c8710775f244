ALTER TABLE core.bed_surveys DROP COLUMN mattress;
ALTER TABLE history.bed_surveys DROP COLUMN mattress;
