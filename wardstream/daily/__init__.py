"""The day's numbers: the tables of sql/marts, built from core by a Spark batch job, for the days that are stale.

marts knows the folders of sql/marts, check tries them against the database, comments makes comments of what they say.
stale says which days, build builds them, spark reads core and aggregates. orphan and deadline end a job whose starter
died or that hangs. zone keeps ops.facilities equal to the file of
sources and the settings. The stream writes nothing here.
"""
