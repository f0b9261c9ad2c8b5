"""The command as people and scripts meet it: output, exit codes, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from cachefence_web import cli
from cachefence_web.demo import command
from tests.demo.test_servers import gone

Run = Callable[..., Result]
FEW = ("--clients", "20", "--uncached-clients", "3")


@pytest.fixture
def run(standins: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the demo on stand-ins in the given mood."""

    def demo(mood: str, *options: str) -> Result:
        monkeypatch.setattr(command, "REPOSITORY", standins(mood))
        return CliRunner().invoke(cli.application(), ["demo", *FEW, *options])

    return demo


def test_a_run_ends_with_a_table_and_a_verdict(run: Run) -> None:
    result = run("good")
    assert result.exit_code == 0, result.output
    for word in ("Django", "Flask", "FastAPI", "gunicorn", "uvicorn", "3 queries", "1 query", "shown"):
        assert word in result.stdout
    assert "60 clients on cold pages cost 3 queries; every save showed at once." in result.stdout


def test_json_is_all_there_is_on_stdout(run: Run) -> None:
    result = run("good", "--json", "--framework", "flask", "--framework", "flask")
    document = json.loads(result.stdout)
    (flask,) = document["frameworks"]
    assert result.exit_code == 0
    assert (document["kept"], document["store"]) == (True, "memory://")
    assert (flask["uncached"]["queries"], flask["cold"]["queries"], flask["again"]["queries"]) == (3, 1, 1)


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("stampedes", "20 clients on a cold page cost 20 queries, not one"),
        ("stale", "the request right after a save did not show it"),
        ("breaks", "got status 500"),
    ],
)
def test_a_broken_promise_exits_with_1_and_is_named(run: Run, mood: str, said: str) -> None:
    result = run(mood, "--framework", "django", "--json")
    assert result.exit_code == 1
    assert said in json.loads(result.stdout)["verdict"]


@pytest.mark.parametrize(
    ("mood", "said"),
    [("quits", "the till is empty"), ("shy", "QUERY_LOG is not written"), ("picky", "showed the form again")],
)
def test_what_could_not_run_exits_with_2_and_says_why_on_stderr(run: Run, mood: str, said: str) -> None:
    result = run(mood, "--framework", "django", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--framework", "rails"], "rails"),
        (["--clients", "1"], "clients"),
        (["--workers", "2"], "add --redis URL"),
        (["--redis", "nonsense://"], "redis://localhost:6379/0"),
        (["--svg", "no/such/folder/x.svg"], "name a file"),
    ],
)
def test_a_wrong_option_exits_with_2_before_anything_starts(run: Run, options: list[str], said: str) -> None:
    result = run("quits", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_picture_is_the_last_screen_and_asks_no_other_host(run: Run, tmp_path: Path) -> None:
    result = run("good", "--framework", "flask", "--svg", str(tmp_path / "demo.svg"))
    picture = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    assert result.exit_code == 0
    text = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")  # noqa: S314
    assert "20 clients on cold pages cost 1 query; every save showed at once." in text
    assert "url(http" not in picture
    assert "@import" not in picture


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_server_and_no_file(
    standins: Callable[[str], Path], tmp_path: Path, ending: signal.Signals
) -> None:
    repository = standins("silent")
    project = repository / "example_projects" / "django_shop"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    os.mkfifo(project / "pid.txt")
    program = (
        "from pathlib import Path; from cachefence_web import cli; from cachefence_web.demo import command\n"
        f"command.REPOSITORY = Path({str(repository)!r}); cli.main()"
    )
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(
        [sys.executable, "-c", program, "demo"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        # Read from a pipe, so that this waits until the project has started.
        server = int((project / "pid.txt").read_text())
        assert list(scratch.iterdir())
        child.send_signal(ending)
        assert b"servers are stopped" in child.communicate(timeout=90)[1]
    assert child.returncode == 130
    assert gone(server)
    assert not list(scratch.iterdir())


def test_without_the_extra_it_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert 'pip install -e ".[demo]"' in capsys.readouterr().err


def test_version_and_help_are_there() -> None:
    runner = CliRunner()
    version = runner.invoke(cli.application(), ["--version"])
    assert (version.exit_code, version.stdout) == (0, f"cachefence-web {cli.installed_version()}\n")
    assert "demo" in runner.invoke(cli.application(), ["--help"]).stdout
    help_of_demo = runner.invoke(cli.application(), ["demo", "--help"]).stdout
    for option in ("--framework", "--redis", "--clients", "--json", "--svg"):
        assert option in help_of_demo


def test_importing_the_command_line_loads_no_extra() -> None:
    loaded = "import sys, cachefence_web.cli; print({'typer', 'rich', 'httpx', 'redis'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True)
    assert answer.stdout == "set()\n"
