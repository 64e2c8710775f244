-- depends: 9001.bed_surveys

ALTER TABLE history.bed_surveys ADD COLUMN mattress text;
ALTER TABLE core.bed_surveys ADD COLUMN mattress text;
