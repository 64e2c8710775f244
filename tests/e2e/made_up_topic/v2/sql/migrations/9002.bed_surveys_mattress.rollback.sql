ALTER TABLE core.bed_surveys DROP COLUMN mattress;
