-- mart.daily_diagnoses: coded diagnoses by day and code, with the chapter of the code.
--
-- Spark SQL over the reads. A code's chapter is found by its category, the first characters of the code; a code that
-- does not begin with a category of its list has chapter (unknown).
WITH counted AS (
    SELECT
        day,
        code_system,
        code,
        max(short_title) AS short_title,
        max(title) AS title,
        count(*) AS diagnoses,
        count_if(sequence = 1) AS primary_diagnoses,
        count(DISTINCT authority, patient_id) AS patients,
        count(DISTINCT authority, encounter_id) AS encounters
    FROM diagnoses
    GROUP BY day, code_system, code
)

SELECT /*+ BROADCAST(k) */
    date_from_unix_date(c.day) AS day,
    c.code_system,
    c.code,
    coalesce(k.chapter, '(unknown)') AS chapter,
    coalesce(k.chapter_title, '(unknown)') AS chapter_title,
    c.short_title,
    c.title,
    c.diagnoses,
    c.primary_diagnoses,
    c.patients,
    c.encounters
FROM counted AS c
LEFT JOIN diagnosis_chapters AS k
    ON k.code_system = upper(c.code_system)
    AND regexp_extract(upper(c.code), k.pattern, 0) BETWEEN k.first_category AND k.last_category
