COMMENT ON COLUMN mart.daily_admissions.los_days_sum IS 'Sum of the lengths of stay, days: discharge day minus admission day; a same-day stay counts ops.facility.same_day_stay_days.';
