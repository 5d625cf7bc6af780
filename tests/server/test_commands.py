"""The commands as a user runs them, in separate processes, and their messages when something is wrong."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from simquery.settings import Settings
from tests.conftest import save_picture
from tests.server.conftest import MODEL

COMMAND = [sys.executable, "-m", "simquery"]

pytestmark = pytest.mark.usefixtures("command_environment")


def simquery(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def fails(code: int, *arguments: object, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that must fail with a single message of simquery, and return the message."""
    done = simquery(*arguments, environment=environment)
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("simquery: ")]
    assert len(messages) == 1, done.stderr
    return messages[0]


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    for seed in range(10):
        save_picture(folder / f"{seed}.png", seed)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def test_index_then_query_prints_the_documented_json(case: str, evidence: Path, tmp_path: Path) -> None:
    done = simquery("index", evidence, "--case", case, "--json")
    counts = json.loads(done.stdout)
    assert counts.pop("seconds") > 0
    assert counts == {"indexed": 10, "duplicate": 0, "unreadable": 1, "skipped": 0, "unchanged": 0, "gone": 0}

    sheet = tmp_path / "sheet.png"
    done = simquery(
        "query", evidence / "3.png", evidence / "4.png", "--case", case, "-k", 5, "--json", "--sheet", sheet
    )
    result = json.loads(done.stdout)
    assert list(result) == [
        "case",
        "model",
        "fingerprint",
        "distance",
        "combine",
        "mode",
        "candidates",
        "k",
        "within",
        "filters",
        "collection_size",
        "matched",
        "took_ms",
        "warning",
        "references",
        "rejected",
        "hits",
    ]
    assert (result["case"], result["distance"], result["mode"]) == (case, "cosine", "exact")
    assert (result["k"], result["collection_size"]) == (5, 10)
    assert [reference["path"] for reference in result["references"]] == [
        str(evidence / "3.png"),
        str(evidence / "4.png"),
    ]
    assert [hit["rank"] for hit in result["hits"]] == [1, 2, 3, 4, 5]
    assert {"rank", "distance", "sha256", "paths", "format", "width", "height", "size"} <= set(result["hits"][0])
    with Image.open(sheet) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(("alias", "name"), [("l1", "manhattan"), ("l2", "euclidean")])
def test_aliases_name_the_same_distance(case: str, evidence: Path, alias: str, name: str) -> None:
    simquery("index", evidence, "--case", case)
    results = [
        json.loads(simquery("query", evidence / "1.png", "--case", case, "--distance", each, "--json").stdout)
        for each in (alias, name)
    ]
    assert results[0]["distance"] == name
    assert results[0]["hits"] == results[1]["hits"]


def test_the_table_shows_rank_distance_and_path(case: str, evidence: Path) -> None:
    simquery("index", evidence, "--case", case)
    lines = simquery("query", evidence / "1.png", "--case", case, "-k", 2).stdout.splitlines()
    assert lines[1].split() == ["rank", "distance", "path"]
    assert lines[3].split() == ["1", "0", str(evidence / "1.png")]
    assert f"2 of 10 pictures · case {case}" in lines[-1]


def test_status_tells_of_cases_and_never_the_password(case: str, evidence: Path, cluster: Settings) -> None:
    simquery("index", evidence, "--case", case)
    done = simquery("status", "--json")
    status = json.loads(done.stdout)
    assert status["running"] is True
    assert {"case": case, "model": MODEL, "pictures": 10} in status["cases"]
    assert cluster.password is not None
    assert cluster.password.get_secret_value() not in done.stdout + done.stderr


def test_watch_indexes_what_is_dropped_in_and_stops_when_asked(case: str, evidence: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "watch", str(evidence), "--case", case], stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stderr is not None
        said = ""
        for line in watching.stderr:
            said += line
            if "Watching" in line:
                save_picture(evidence / "new" / "dropped.png", 77)
            if line.startswith("11 indexed"):
                watching.send_signal(signal.SIGTERM)
                break
        assert watching.wait() == 0, said
    found = json.loads(simquery("query", evidence / "new" / "dropped.png", "--case", case, "-k", 1, "--json").stdout)
    assert found["hits"][0]["paths"] == [str(evidence / "new" / "dropped.png")]


def test_verify_agrees_or_says_what_differs(case: str, evidence: Path) -> None:
    assert f"There is no case '{case}'" in fails(5, "verify", evidence, "--case", case)
    simquery("index", evidence, "--case", case, "--label-folders", "--thumbnails")
    report = json.loads(simquery("verify", evidence, "--case", case, "--rehash", "--json").stdout)
    assert report == {
        "files": 11,
        "statuses": {"indexed": 10, "duplicate": 0, "unreadable": 1, "skipped": 0},
        "gone": 0,
        "documents": {MODEL: 10},
        "differences": [],
    }
    save_picture(evidence / "new.png", 99)
    done = simquery("verify", evidence, "--case", case)
    assert done.returncode == 7
    assert f"{evidence / 'new.png'}: is not in the ledger" in done.stdout.splitlines()
    assert "simquery: 1 differences" in done.stderr


def test_an_evidence_folder_that_is_empty_all_of_a_sudden_stops_the_command(
    case: str, evidence: Path, tmp_path: Path
) -> None:
    simquery("index", evidence, "--case", case)
    evidence.rename(tmp_path / "elsewhere")
    evidence.mkdir()
    for command in ("index", "watch"):
        message = fails(3, command, evidence, "--case", case)
        assert f"The folder '{evidence}' is empty, but the case knows 11 files in it" in message
        assert "add --record-missing" in message
    counts = json.loads(simquery("index", evidence, "--case", case, "--record-missing", "--json").stdout)
    assert counts["gone"] == 11


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [("index", signal.SIGINT, 130), ("index", signal.SIGTERM, 130), ("watch", signal.SIGTERM, 0)],
)
def test_a_signal_during_indexing_ends_it_cleanly_and_the_next_run_goes_on(
    case: str, tmp_path: Path, command: str, number: signal.Signals, code: int
) -> None:
    for seed in range(600):
        save_picture(tmp_path / "many" / f"{seed}.png", seed)
    arguments = [*COMMAND, command, str(tmp_path / "many"), "--case", case, "--verbose"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as indexing:
        assert indexing.stderr is not None
        said = ""
        for line in indexing.stderr:
            said += line
            if "stored 64" in line:
                indexing.send_signal(number)
                break
        said += indexing.stderr.read()
    assert indexing.returncode == code, said
    assert "Traceback" not in said
    assert ("run the same command again to continue" in said) == (command == "index")
    counts = json.loads(simquery("index", tmp_path / "many", "--case", case, "--json").stdout)
    assert counts["unchanged"] >= 64
    assert counts["indexed"] + counts["unchanged"] == 600


def test_a_killed_run_loses_nothing(case: str, tmp_path: Path) -> None:
    for seed in range(300):
        save_picture(tmp_path / "many" / f"{seed}.png", seed)
    arguments = [*COMMAND, "index", str(tmp_path / "many"), "--case", case, "--verbose"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as indexing:
        assert indexing.stderr is not None
        for line in indexing.stderr:
            if "stored 64" in line:
                indexing.kill()
                break
    counts = json.loads(simquery("index", tmp_path / "many", "--case", case, "--json").stdout)
    assert counts["indexed"] + counts["unchanged"] == 300
    picture = tmp_path / "many" / "0.png"
    result = json.loads(simquery("query", picture, "--case", case, "-k", 300, "--json").stdout)
    assert sorted(hit["paths"] for hit in result["hits"]) == sorted(
        [str(path)] for path in (tmp_path / "many").iterdir()
    )


def test_missing_and_unreadable_input_has_exit_code_3(case: str, evidence: Path, tmp_path: Path) -> None:
    assert "There is no folder" in fails(3, "index", tmp_path / "nowhere", "--case", case)
    assert "is not a folder" in fails(3, "watch", evidence / "1.png", "--case", case)
    simquery("index", evidence, "--case", case)
    assert "not a picture" in fails(3, "query", __file__, "--case", case)
    assert "broken.jpg" in fails(3, "query", evidence / "broken.jpg", "--case", case)
    assert "No such file" in fails(3, "query", tmp_path / "nothing.png", "--case", case)


def test_an_empty_folder_is_indexed_without_complaint(case: str, tmp_path: Path) -> None:
    done = simquery("index", tmp_path, "--case", case)
    assert done.returncode == 0
    assert "0 indexed" in done.stdout


def test_an_unknown_model_has_exit_code_4_and_names_the_known_ones(case: str, evidence: Path) -> None:
    assert "Choose from: " in fails(4, "index", evidence, "--case", case, "--model", "resnet5000")
    assert "inceptionresnetv2" in fails(4, "query", evidence / "1.png", "--case", case, "--model", "../etc")


def test_a_query_before_indexing_has_exit_code_5_and_says_what_to_run(case: str, evidence: Path) -> None:
    assert f"simquery index FOLDER --case {case}" in fails(5, "query", evidence / "1.png", "--case", case)


def test_a_server_that_is_down_has_exit_code_5(evidence: Path) -> None:
    message = fails(5, "index", evidence, environment={"SIMQUERY_URL": "http://127.0.0.1:1"})
    assert "http://127.0.0.1:1/ cannot be reached" in message
    assert "simquery up" in message


def test_wrong_credentials_have_exit_code_5_and_are_not_repeated(evidence: Path) -> None:
    message = fails(5, "index", evidence, environment={"SIMQUERY_API_KEY": "hunter2"})
    assert "refuses the credentials" in message
    assert "hunter2" not in message


def test_bad_settings_have_exit_code_2() -> None:
    assert "SIMQUERY_CASE" in fails(2, "query", "a.jpg", "--case", "No Good")


def test_a_sheet_never_overwrites_a_file(case: str, evidence: Path) -> None:
    simquery("index", evidence, "--case", case)
    before = (evidence / "2.png").read_bytes()
    arguments = ("query", evidence / "1.png", "--case", case, "--sheet", evidence / "2.png")
    assert "is not overwritten" in fails(2, *arguments)
    assert (evidence / "2.png").read_bytes() == before


def test_too_many_references_are_refused_in_one_sentence(case: str, evidence: Path) -> None:
    assert "at most 64" in fails(3, "query", *([evidence / "1.png"] * 65), "--case", case)


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    message = fails(2, "status", environment={"SIMQUERY_URL": "http://elastic:hunter2@localhost:9200"})
    assert "SIMQUERY_PASSWORD" in message
    assert "hunter2" not in message


def test_an_unwritable_sheet_is_an_error_that_does_not_cost_the_result(case: str, evidence: Path) -> None:
    simquery("index", evidence, "--case", case)
    done = simquery("query", evidence / "1.png", "--case", case, "--sheet", "/nowhere/sheet.png")
    assert done.returncode == 2
    assert "simquery: The sheet '/nowhere/sheet.png' cannot be written" in done.stderr
    assert str(evidence / "1.png") in done.stdout


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>It works!</h1>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_something_else_at_the_address_has_exit_code_5(evidence: Path, web_server: str) -> None:
    assert "it is not Elasticsearch" in fails(5, "index", evidence, environment={"SIMQUERY_URL": web_server})


def test_options_of_a_query_reach_it(case: str, evidence: Path, tmp_path: Path) -> None:
    simquery("index", evidence, "--case", case)
    (tmp_path / "list.txt").write_text(f"# mine\n{evidence / '3.png'}\n\n{evidence / '4.png'}\n")
    options = ("--not", evidence / "5.png", "--combine", "min", "--path", "*.png", "--format", "png")
    done = simquery("query", "--from", tmp_path / "list.txt", "--case", case, "--all", "--json", *options)
    result = json.loads(done.stdout)
    assert (result["combine"], result["k"], result["mode"]) == ("min", None, "exact")
    assert [Path(reference["path"]).name for reference in result["references"]] == ["3.png", "4.png"]
    assert Path(result["hits"][-1]["paths"][0]).name == "5.png"
    assert len(result["filters"]) == 2
    assert {hit["distance"] for hit in result["hits"][:2]} == {0.0}

    first = result["hits"][0]["sha256"]
    rows = simquery("query", first, "--case", case, "-k", 3, "--output", "csv").stdout.splitlines()
    assert rows[0].startswith("rank,distance,sha256,path,")
    assert len(rows) == 4
    dated = simquery("query", first, "--case", case, "--since", "2000", "-k", 3, "--save", "--note", "red", "--blur")
    assert result["hits"][0]["paths"][0] in dated.stdout
    assert "Saved as" in dated.stderr
    assert "http://127.0.0.1:5601/" in dated.stderr
    near = simquery("query", evidence / "3.png", "--case", case, "--within", 0, "--output", "jsonl").stdout
    assert [json.loads(line)["rank"] for line in near.splitlines()] == [1]
    nothing = simquery("query", evidence / "3.png", "--case", case, "--camera", "nikon")
    assert (nothing.returncode, "No picture of the case matches" in nothing.stderr) == (0, True)
    report = json.loads(simquery("recall", "--case", case, "-k", 3, "--sample", 4, "--json", "--store", 0.5).stdout)
    assert set(report["stored"]) == {"cosine", "modified", "pearson", "braycurtis"}


def test_a_query_without_sense_is_refused(case: str, evidence: Path) -> None:
    simquery("index", evidence, "--case", case)
    for arguments, code, message in (
        (("--distance", "hamming"), 3, "Choose from: cosine"),
        (("--augment", "shear"), 3, "flip, rotate, grey, crop"),
        (("--path", "[a"), 3, "without a ']'"),
        (("--since", "soon"), 3, "is not a date"),
        (("--near", "here"), 3, "is not a place"),
        (("--filter", "{"), 3, "not valid JSON"),
        (("--filter", "@/nowhere.json"), 3, "cannot be read"),
        (("--filter", '{"nonsense": {}}'), 5, "nonsense"),
        (("--within", "-1"), 3, "is not a distance"),
        (("--mode", "approximate", "--all"), 3, "use exact mode"),
        (("--candidates", "0"), 3, "must be from 1 to"),
    ):
        assert message in fails(code, "query", evidence / "1.png", "--case", case, *arguments)
