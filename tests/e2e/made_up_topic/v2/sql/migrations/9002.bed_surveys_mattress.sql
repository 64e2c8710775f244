-- depends: 9001.bed_surveys

ALTER TABLE core.bed_surveys ADD COLUMN mattress text;
