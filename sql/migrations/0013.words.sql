-- depends: 0007.daily
-- BI users read this comment and cannot see schema ops.

COMMENT ON COLUMN mart.daily_admissions.los_days_sum IS 'Sum of the lengths of stay, days: discharge day minus admission day; a stay that ends the day it began counts 0 or 1, as the facility is set up (WARDSTREAM_SAME_DAY_STAY_DAYS).';
