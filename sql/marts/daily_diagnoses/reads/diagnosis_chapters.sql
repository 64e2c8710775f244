-- diagnosis_chapters: the reference table, whole.
SELECT code_system, chapter, chapter_title, pattern, first_category, last_category
FROM mart.diagnosis_chapters
