"""The day's numbers: mart.daily_* built from core by a Spark batch job, for the days that are stale and no others.

stale says which days, build builds them, spark reads core and aggregates, marts knows the files of sql/marts, facility
keeps ops.facility equal to the settings, orphan ends a job whose starter died. The stream writes nothing here.
"""
