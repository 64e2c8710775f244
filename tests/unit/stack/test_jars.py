"""The lists of jars, and that a wrong file never gets into the cache."""

import hashlib

import pytest

from wardstream.stack import ivy, jars, java
from wardstream.stack.errors import StackError


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A list of two made-up artifacts instead of the real ones; what a retrieve would fetch is in `content`."""
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "spark.txt").write_text("# two\ng:a:1\ng:b:2:all@tar.gz\n")
    content = {"a-1.jar": b"first", "b-2-all.tar.gz": b"second"}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    (lists / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    fetched = []

    def retrieve(settings, artifacts, folder):
        folder.mkdir(parents=True, exist_ok=True)
        fetched.append([a.file for a in artifacts])
        for a in artifacts:
            (folder / a.file).write_bytes(content[a.file])
        return [folder / a.file for a in artifacts]

    read_list, read_sums = jars.read_list, jars.read_sums
    monkeypatch.setattr(jars, "read_list", lambda name: read_list(name, lists))
    monkeypatch.setattr(jars, "read_sums", lambda: read_sums(lists))
    monkeypatch.setattr(ivy, "retrieve", retrieve)
    return content, fetched


def test_every_listed_file_has_a_checksum_and_no_other():
    listed = {a.file for name in jars.LISTS for a in jars.read_list(name)}
    assert listed == set(jars.read_sums())


def test_lists_are_sorted_and_without_duplicates():
    for name in jars.LISTS:
        keys = [(a.group, a.name) for a in jars.read_list(name)]
        assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("g:a:1", "a-1.jar"),
        ("g:a:1:linux", "a-1-linux.jar"),
        ("io.x:app:3.3.3:all@tar.gz", "app-3.3.3-all.tar.gz"),
    ],
)
def test_a_line_names_a_file(line, file):
    assert jars.Artifact.parse(line).file == file


def test_ivy_resolves_nothing():
    xml = ivy.module_xml(jars.read_list("kafka") + jars.read_list("registry"))
    assert xml.count("<dependency ") == xml.count('transitive="false"') == len(jars.read_list("kafka")) + 1
    assert 'm:classifier="all"' in xml


def test_a_mirror_is_used_when_set():
    assert "root=" not in ivy.settings_xml("")
    assert 'root="https://mirror.internal/m2"' in ivy.settings_xml("https://mirror.internal/m2")


def test_fetched_once_then_taken_from_the_cache(settings, tiny):
    _, fetched = tiny
    said: list[str] = []
    jars.fetch(settings, said.append, ["spark"])
    jars.fetch(settings, said.append, ["spark"])
    assert fetched == [["a-1.jar", "b-2-all.tar.gz"]] and len(said) == 1
    assert [path.read_bytes() for path in jars.spark_jars(settings)] == [b"first", b"second"]
    assert not list(settings.cache_dir.glob("partial-*"))


def test_a_wrong_download_is_named_and_never_reaches_the_cache(settings, tiny):
    content, _ = tiny
    content["a-1.jar"] = b"something else"
    with pytest.raises(StackError, match=r"wrong checksum, deleted: a-1\.jar(.|\n)*wardstream up"):
        jars.fetch(settings, names=["spark"])
    assert not list((settings.cache_dir).rglob("a-1.jar"))
    content["a-1.jar"] = b"first"
    jars.fetch(settings, names=["spark"])
    assert jars.spark_jars(settings)[0].read_bytes() == b"first"


def test_a_file_that_changed_in_the_cache_is_found_and_fetched_again(settings, tiny):
    _, fetched = tiny
    jars.fetch(settings, names=["spark"])
    jars.spark_jars(settings)[0].write_bytes(b"rotten")
    with pytest.raises(StackError, match=r"a-1\.jar"):
        jars.fetch(settings, names=["spark"])
    jars.fetch(settings, names=["spark"])
    assert fetched[-1] == ["a-1.jar"]
    assert jars.spark_jars(settings)[0].read_bytes() == b"first"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("Server access error at url http://somewhere (java.net.ConnectException: refused)", "cannot be reached"),
        ("java.io.IOException: No space left on device", "no space left on the disk"),
        ("SSLHandshakeException: PKIX path building failed", "not trusted"),
        ("WARN:\tHost repo.example.org not found. url=https://repo.example.org/a-1.jar", "cannot be reached"),
        ("WARN: \tmodule not found: g#a;1", "does not have: g#a;1"),
    ],
)
def test_a_failed_fetch_says_why_in_one_line(settings, tmp_path, monkeypatch, output, words):
    says = tmp_path / "java"
    says.write_text(f"#!/bin/sh\necho '{output}'\nexit 1\n")
    says.chmod(0o755)
    monkeypatch.setattr(java, "executable", lambda: says)
    with pytest.raises(StackError) as caught:
        ivy.retrieve(settings, [jars.Artifact("g", "a", "1")], tmp_path / "p")
    assert words in caught.value.why and "\n" not in caught.value.why
    assert "wardstream up" in caught.value.what_to_type
