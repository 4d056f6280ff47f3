"""Bytes from the pipe become events; platform lines have AWS's form; unpacking is safe."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_support import Lab, function, zipped

from labkit.localaws.runtime import packages
from labkit.localaws.runtime.archive import ArchiveError, CodeStore, unpack
from labkit.localaws.runtime.output import Line, OutputParser, level_of
from labkit.localaws.runtime.report import PlatformLog, billed_ms
from labkit.localaws.runtime.version import Layer


def frame(text: str, kind: int = 0xA55A000F, when: int = 1_700_000_000_000_000) -> bytes:
    data = text.encode()
    return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + when.to_bytes(8, "big") + data


def test_lines_and_frames_keep_their_order():
    parser = OutputParser()
    lines = parser.feed(b"one\ntwo" + frame("three\nof it\n") + b"\nfour\n\nfi")
    assert [line.message for line in lines] == [
        "one\n",
        "two",
        "three\nof it\n",
        "\n",
        "four\n",
        "\n",
    ]
    assert lines[2] == Line("three\nof it\n", 1_700_000_000_000_000, 3)
    assert parser.finish() == [Line("fi")]
    assert parser.finish() == []


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.one_of(
            st.text(max_size=20).map(lambda t: t.replace("\n", " ") + "\n"),
            st.text(min_size=1, max_size=20).map(frame),
        ),
        max_size=8,
    ),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_it_does_not_matter_how_the_bytes_are_cut(parts, cuts):
    data = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    whole = OutputParser()
    expected = whole.feed(data) + whole.finish()
    parser, seen, position, turn = OutputParser(), [], 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        seen += parser.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert seen + parser.finish() == expected
    assert len(expected) == len(parts)


def test_bytes_that_only_look_like_a_frame_are_text():
    lines = OutputParser().feed(b"\xa5\x5a\x00\x03" + b"\xff" * 20 + b"\n")
    assert len(lines) == 1


def test_levels():
    assert level_of(Line("plain")) == 3
    assert level_of(Line("x", 1, 5)) == 5
    assert level_of(Line('{"level": "debug", "msg": "m"}')) == 2
    assert level_of(Line('{"level": "WARNING"}')) == 4
    assert level_of(Line('{"level": 7}')) == 3
    assert level_of(Line("{not json")) == 3


def test_billing_rounds_up_and_includes_initialisation():
    assert billed_ms(1233.96, 463.512) == 1698
    assert billed_ms(250.06, 100.77) == 351
    assert billed_ms(3000.0, None) == 3000
    assert billed_ms(0.2, None) == 1


def test_report_lines():
    log = PlatformLog(function(memory_mb=128))
    figures = {"duration_ms": 933.588, "init_ms": None, "max_memory_mb": 9}
    assert log.end(0.0, "id", status="success", **figures) == [
        "END RequestId: id\n",
        "REPORT RequestId: id\tDuration: 933.59 ms\tBilled Duration: 934 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 9 MB\t\n",
    ]
    report = log.end(
        0.0, "id", status="error", error_type="Runtime.ExitError", **{**figures, "init_ms": 80.0}
    )[1]
    assert report == (
        "REPORT RequestId: id\tDuration: 933.59 ms\tBilled Duration: 1014 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 9 MB\tInit Duration: 80.00 ms\tStatus: error\tError Type: Runtime.ExitError\n"
    )


def json_events(version, status="success", **more):
    log = PlatformLog(version)
    figures = {"duration_ms": 1233.96, "init_ms": 463.512, "max_memory_mb": 123}
    texts = [
        *log.init_start(1.5, "on-demand"),
        *log.init_report(1.5, "on-demand", init_ms=1.0, phase="init", status="error"),
        *log.start(1.5, "id"),
        *log.timed_out(1.5, "id", 3),
        *log.end(1.5, "id", status=status, **figures, **more),
    ]
    return [json.loads(text) for text in texts]


def test_json_platform_events():
    version = function(log_format="JSON", memory_mb=256)
    start, begin, report = json_events(version)
    assert start["time"] == "1970-01-01T00:00:01.500Z"
    assert start["type"] == "platform.initStart"
    assert start["record"]["initializationType"] == "on-demand"
    assert begin["record"] == {"requestId": "id", "functionArn": version.arn, "version": "$LATEST"}
    assert report == {
        "time": "1970-01-01T00:00:01.500Z",
        "type": "platform.report",
        "record": {
            "requestId": "id",
            "metrics": {
                "durationMs": 1233.96,
                "billedDurationMs": 1698,
                "memorySizeMB": 256,
                "maxMemoryUsedMB": 123,
                "initDurationMs": 463.512,
            },
            "status": "success",
        },
    }


@pytest.mark.parametrize(
    ("level", "status", "kinds"),
    [
        ("DEBUG", "success", ["initStart", "initReport", "start", "runtimeDone", "report"]),
        ("INFO", "success", ["initStart", "start", "report"]),
        ("INFO", "timeout", ["initStart", "start", "runtimeDone", "report"]),
        ("WARN", "success", []),
        ("WARN", "error", ["runtimeDone", "report"]),
    ],
)
def test_system_log_levels(level, status, kinds):
    events = json_events(function(log_format="JSON", system_log_level=level), status)
    assert [event["type"].removeprefix("platform.") for event in events] == kinds


def test_json_logs_and_the_application_level(tmp_path):
    lab = Lab(tmp_path)
    source = """
        import logging
        logger = logging.getLogger()
        def handler(event, context):
            logger.debug("quiet")
            logger.info("said", extra={"order": "A-1"})
            logger.warning("loud")
            print("plain text")
            print('{"level": "DEBUG", "message": "hidden"}')
            print('{"level": "ERROR", "message": "shown"}')
            return 1 / event
    """
    try:
        result = lab.invoke(function(source, log_format="JSON"), 0)
        records = [json.loads(t) if t.startswith("{") else t for t in lab.messages(result)]
        assert records[0]["type"] == "platform.start"
        assert records[1]["message"] == "said"
        assert records[1]["order"] == "A-1"
        assert records[1]["requestId"] == result.request_id
        assert [records[2]["message"], records[3]] == ["loud", "plain text\n"]
        assert records[4]["message"] == "shown"
        assert records[5]["errorType"] == "ZeroDivisionError"
        assert records[5]["level"] == "ERROR"
        assert records[-1]["record"]["status"] == "error"
        version = function(
            source, log_format="JSON", application_log_level="ERROR", system_log_level="WARN"
        )
        messages = lab.messages(lab.invoke(version, 1))
        assert [json.loads(text)["message"] for text in messages] == ["shown"]
    finally:
        lab.pool.close()


def test_files_keep_their_modes_and_layers_their_order(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        tool = zipfile.ZipInfo("bin/tool")
        tool.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(tool, "#!/bin/sh\n")
        plain = zipfile.ZipInfo("plain.txt")
        plain.external_attr = 0
        archive.writestr(plain, "text")
        archive.writestr(zipfile.ZipInfo("empty/"), "")
    unpack(buffer.getvalue(), tmp_path / "a")
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "a/bin/tool").stat().st_mode) == 0o755
        assert stat.S_IMODE((tmp_path / "a/plain.txt").stat().st_mode) == 0o644
    assert (tmp_path / "a/empty").is_dir()
    store = CodeStore(tmp_path / "store")
    lower, upper = zipped({"x": "1", "low": "l"}), zipped({"x": "2"})
    merged = store.layers((Layer("a", lower), Layer("b", upper)))
    assert ((merged / "x").read_text(), (merged / "low").read_text()) == ("2", "l")
    assert store.layers((Layer("a", lower), Layer("b", upper))) == merged
    assert store.layers((Layer("b", upper), Layer("a", lower))) != merged
    assert store.code(lower) == store.code(lower) != store.code(upper)


@pytest.mark.parametrize(
    "name", ["../outside", "/absolute", "a/../../outside", "..\\outside", "C:/windows"]
)
def test_names_that_lead_outside_are_refused(tmp_path, name):
    with pytest.raises(ArchiveError):
        unpack(zipped({name: "x"}).read(), tmp_path / "package")
    assert not (tmp_path / "outside").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need POSIX")
def test_links_stay_inside(tmp_path):
    def with_link(target, then=None):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            link = zipfile.ZipInfo("link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
            if then:
                archive.writestr(then, "x")
        return buffer.getvalue()

    unpack(with_link("lib/real"), tmp_path / "fine")
    assert os.readlink(tmp_path / "fine/link") == "lib/real"
    for target in ("../outside", "/etc/passwd"):
        with pytest.raises(ArchiveError):
            unpack(with_link(target), tmp_path / "bad")
    with pytest.raises(ArchiveError):
        unpack(with_link("lib", then="link/file"), tmp_path / "through")


def test_archives_too_large_or_broken(tmp_path):
    with pytest.raises(ArchiveError, match="262144000"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(26):
                archive.writestr(f"f{number}", b"0" * 10_485_760, compresslevel=1)
        unpack(buffer.getvalue(), tmp_path / "large")
    with pytest.raises(ArchiveError):
        unpack(b"no zip at all", tmp_path / "broken")


def test_packages_installed_without_byte_code_are_compiled_once(tmp_path, monkeypatch):
    folder = tmp_path / "thing"
    folder.mkdir()
    for name in ("__init__.py", "inner.py"):
        (folder / name).write_text("value = 1\n")
    single = tmp_path / "single.py"
    single.write_text("value = 2\n")
    found = {"thing": folder, "single.py": single, "thing.dist-info": tmp_path / "thing.dist-info"}
    monkeypatch.setattr(packages, "provided_files", lambda names: found)
    assert packages.compile_missing() == ["thing", "single.py"]
    assert len(list((folder / "__pycache__").iterdir())) == 2
    assert packages.compile_missing() == []


def test_what_a_function_may_import():
    names = set(packages.provided_files())
    assert {"boto3", "botocore", "awslambdaric", "simplejson", "aws_lambda_powertools"} <= names
    assert not {"moto", "pytest", "pandas", "psutil", "flask"} & names
