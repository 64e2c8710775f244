"""Fetching files from a Maven repository with the Ivy jar that the pyspark wheel carries.

Nothing is resolved: every dependency is named, `transitive="false"`, and its POM is not even read. Checksums are ours
(see jars.py), so Ivy's are off. The JVM trusts the certificates that Python trusts, because a house network often has
a certificate of its own which is known to the system (or named by SSL_CERT_FILE) but not to a Java from a wheel.
"""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from wardstream.settings import Settings
from wardstream.stack import java
from wardstream.stack.class_archive import JARS
from wardstream.stack.errors import StackError, says_no_space

if TYPE_CHECKING:
    from wardstream.stack.jars import Artifact

CONNECT_MS, READ_MS = 10_000, 60_000
NO_NETWORK = re.compile(r"Host \S+ not found|ConnectException|NoRouteToHost|SocketException|SocketTimeout|timed out")
NOT_HAD = re.compile(r"module not found: (\S+)")
OTHER = re.compile(r"\[FAILED.*|Server access error.*|SERVER ERROR.*")
PATTERN = "[artifact]-[revision](-[classifier]).[ext]"
_WARNINGS = threading.Lock()  # the warning filters belong to the process, and lists are fetched in threads
STORE_PASSWORD = b"public certificates only"  # a trust store must have a password; this one hides nothing


def ivy_jar() -> Path:
    """The Ivy jar inside the pyspark wheel."""
    return next(JARS.glob("ivy-*.jar"))


def module_xml(artifacts: Sequence[Artifact]) -> str:
    """The ivy.xml that names each artifact, and nothing below it."""
    dependencies = []
    for a in artifacts:
        head = (
            f"<dependency org={quoteattr(a.group)} name={quoteattr(a.name)} rev={quoteattr(a.version)}"
            ' transitive="false" conf="runtime->default"'
        )
        if a.classifier:
            kind = quoteattr(a.extension)
            dependencies.append(
                f"{head}><artifact name={quoteattr(a.name)} type={kind} ext={kind}"
                f" m:classifier={quoteattr(a.classifier)}/></dependency>"
            )
        else:
            dependencies.append(f"{head}/>")
    return (
        '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">'
        '<info organisation="wardstream" module="jars"/><configurations><conf name="runtime"/></configurations>'
        f"<dependencies>{''.join(dependencies)}</dependencies></ivy-module>"
    )


def settings_xml(repository: str) -> str:
    """The ivysettings.xml; without a repository Ivy asks Maven Central."""
    root = f" root={quoteattr(repository)}" if repository else ""
    return (
        '<ivysettings><property name="ivy.checksums" value=""/><settings defaultResolver="maven"/>'
        # without it Ivy waits for ever for a host that says nothing, whatever the JVM is told
        f'<timeout-constraints><timeout-constraint name="limits" connectionTimeout="{CONNECT_MS}"'
        f' readTimeout="{READ_MS}"/></timeout-constraints><resolvers><ibiblio name="maven" timeoutConstraint="limits"'
        f' m2compatible="true" usepoms="false" useMavenMetadata="false"{root}/>'
        "</resolvers></ivysettings>"
    )


def trust_store(path: Path) -> list[str]:
    """Write Python's trusted certificates as a Java trust store; the JVM flags to use it, none if Python has none."""
    authorities = []
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old authorities with unusual serial numbers: not ours to judge
        for number, der in enumerate(ssl.create_default_context().get_ca_certs(binary_form=True)):
            try:
                certificate = x509.load_der_x509_certificate(der)
            except ValueError:
                continue
            authorities.append(pkcs12.PKCS12Certificate(certificate, f"ca{number}".encode()))
    if not authorities:
        return []
    path.write_bytes(pkcs12.serialize_java_truststore(authorities, BestAvailableEncryption(STORE_PASSWORD)))
    return [
        f"-Djavax.net.ssl.trustStore={path}",
        f"-Djavax.net.ssl.trustStorePassword={STORE_PASSWORD.decode()}",
    ]


def retrieve(settings: Settings, artifacts: Sequence[Artifact], folder: Path) -> list[Path]:
    """Fetch the artifacts into `folder`; the files, not yet verified. Files from an interrupted call are used."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ivy.xml").write_text(module_xml(artifacts))
    (folder / "settings.xml").write_text(settings_xml(settings.maven_repository))
    output = folder / "files"
    shutil.rmtree(output, ignore_errors=True)  # copies; on a full disk the last one can have been cut short
    command = [str(java.executable()), "-Djava.net.useSystemProxies=true", *trust_store(folder / "trust.p12")]
    command += ["-jar", str(ivy_jar()), "-settings", str(folder / "settings.xml"), "-cache", str(folder / "cache")]
    command += ["-ivy", str(folder / "ivy.xml"), "-confs", "runtime", "-types", "jar", "bundle", "tar.gz"]
    command += ["-retrieve", str(output / PATTERN), "-verbose"]  # else it keeps what goes wrong until its end
    code, said = _run(command)
    files = [output / a.file for a in artifacts]
    if code or not all(file.is_file() for file in files):
        raise _why(settings, said)
    return files


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and output; ends at the first sign of no network, which Ivy would meet again for every file."""
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if NO_NETWORK.search(line):
                process.kill()
    return process.returncode, "".join(said)


def _why(settings: Settings, output: str) -> StackError:
    if says_no_space(output):
        return StackError(
            "jars",
            f"no space left on the disk for {settings.cache_dir} (600 MB needed)",
            "df -h; make room; wardstream up; or WARDSTREAM_CACHE_DIR=/a/folder/with/room wardstream up",
        )
    if NO_NETWORK.search(output):
        return StackError(
            "jars",
            "the Maven repository cannot be reached (no network, or a proxy is needed)",
            "wardstream up, when connected (it goes on from there); a mirror is set with WARDSTREAM_MAVEN_REPOSITORY",
        )
    if "SSLHandshakeException" in output:
        return StackError(
            "jars",
            "the Maven repository's certificate is not trusted",
            "SSL_CERT_FILE=/path/to/your/house/ca.pem wardstream up",
        )
    why = NOT_HAD.findall(output) or OTHER.findall(output)
    return StackError(
        "jars",
        "the Maven repository does not have: " + ", ".join([*dict.fromkeys(why)][:3]),
        "wardstream up; a mirror is set with WARDSTREAM_MAVEN_REPOSITORY",
    )
