"""Options of the JVM that aggregates: given by the session, or to spark-submit, which makes the JVM before the session.

Imports nothing: the DAG file reads it while it is parsed.
"""

# A usual run is a few seconds: the quick compiler alone halves its work.
JAVA_OPTIONS = "-Xss16m -XX:TieredStopAtLevel=1 -XX:-UsePerfData"
SUBMIT = {
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "WARN",  # the job's own lines say what it does
}
