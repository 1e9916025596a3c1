"""`cup doctor`: it says what there is, what is missing, and what follows."""

import json
import os
import subprocess
import sys

import pytest

from cup.cli import _doctor, _doctor_checks, main


def findings(capsys, *options):
    status = main(["doctor", "--json", *options])
    found = json.loads(capsys.readouterr().out)["findings"]
    return status, {(one["area"], one["name"]): one for one in found}


def test_this_machine_is_well(capsys):
    status, found = findings(capsys)
    assert status == 0
    assert found["versions", "cup"]["state"] == "ok"
    assert found["versions", "anyio"]["state"] == "ok"
    assert {area for area, _ in found} >= {"event loops", "kernel", "limits"}
    assert {one["state"] for one in found.values()} <= {"ok", "note", "degraded"}
    assert all(one["effect"] for one in found.values() if one["state"] != "ok")


def test_each_finding_is_a_line(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "\nkernel\n  " in out
    assert f"python: CPython {sys.version.split()[0]}" in out


def test_a_missing_package_says_what_follows(capsys, monkeypatch):
    real = _doctor_checks.version

    def version(name):
        if name == "coredis":
            raise _doctor_checks.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(_doctor_checks, "version", version)
    status, found = findings(capsys)
    assert status == 0
    missing = found["extra redis", "coredis"]
    assert missing["state"] == "note"
    assert "pip install 'cup-services[redis]'" in missing["effect"]


def test_the_older_library_hides_this_one(capsys, monkeypatch):
    class Distribution:
        version = "1.7.4"

    monkeypatch.setattr(_doctor_checks, "distribution", lambda _: Distribution())
    status, found = findings(capsys)
    assert status == 1
    other = found["versions", "the older cup"]
    assert (other["state"], other["found"]) == ("broken", "1.7.4")
    assert "pip uninstall cup" in other["effect"]


def test_a_kernel_without_features_is_slower(capsys, monkeypatch):
    monkeypatch.setattr(_doctor_checks.sys, "platform", "darwin")
    status, found = findings(capsys)
    assert status == 0
    kernel = {name: one for (area, name), one in found.items() if area == "kernel"}
    assert len(kernel) == 5
    assert {one["state"] for one in kernel.values()} == {"degraded"}


def test_low_limits_are_told(capsys, monkeypatch, tmp_path):
    setting = tmp_path / "setting"
    setting.write_text("7\n")
    monkeypatch.setattr(_doctor_checks, "Path", lambda _: setting)
    found = [*_doctor_checks._setting("limits", "watches", "...", 8192, "polling")]
    assert [(one.state, one.found, one.effect) for one in found] == [
        ("degraded", "7", "polling")
    ]


def test_a_server_that_does_not_answer_is_broken_and_its_password_secret(capsys):
    pytest.importorskip("redis")
    status, found = findings(capsys, "--redis", "redis://me:secret@localhost:1/0")
    assert status == 1
    server = found["redis", "redis://localhost:1/0"]
    assert server["state"] == "broken"
    assert "secret" not in str(server)


def test_an_address_that_is_none_is_broken(capsys):
    pytest.importorskip("redis")
    status, found = findings(capsys, "--redis", "nonsense")
    assert status == 1
    assert "redis://" in found["redis", "nonsense"]["found"]


def test_a_table_is_for_terminals(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["doctor"]) == 0
    assert "what follows" in capsys.readouterr().out
    monkeypatch.setattr(_doctor, "find_spec", lambda _: None)
    assert main(["doctor"]) == 0
    assert "what follows" not in capsys.readouterr().out


def test_as_a_process():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cup", "doctor"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONDEVMODE": "1"},
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("versions\n")
