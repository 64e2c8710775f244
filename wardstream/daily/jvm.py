"""Options of the JVM that aggregates: given by the session, and to spark-submit, whose JVM is there before it.

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


def jdbc_jars(spark_jars: str) -> str:
    """Of the jars for Spark those that the job needs: PostgreSQL's driver. Known when the JVM starts: Spark's ADD JAR
    does not find a file in a path with a space."""
    return ",".join(jar for jar in spark_jars.split(",") if "postgresql" in jar.rpartition("/")[2])
