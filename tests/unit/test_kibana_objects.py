"""Saved objects, checked against what Kibana accepts, and their import."""

import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import click
import pytest
from click.testing import CliRunner
from pydantic import AnyHttpUrl

from simquery.cli.main import cli
from simquery.errors import KibanaError, SettingsError
from simquery.kibana import RESULTS_DASHBOARD, Kibana, as_ndjson, dashboard_link, saved_objects
from simquery.kibana.objects import vega_specs
from simquery.settings import Settings

OBJECTS = {each["id"]: each for each in saved_objects()}
NEWEST = {
    "index-pattern": "8.0.0",
    "visualization": "8.5.0",
    "lens": "8.9.0",
    "search": "8.0.0",
    "dashboard": "8.9.0",
}
ATTRIBUTES = {
    "index-pattern": "title name timeFieldName allowNoIndex fieldFormatMap fieldAttrs sourceFilters runtimeFieldMap"
    " fields",
    "visualization": "title description visState uiStateJSON version kibanaSavedObjectMeta",
    "lens": "title description visualizationType state",
    "search": "title description columns sort grid hideChart rowHeight kibanaSavedObjectMeta",
    "dashboard": "title description panelsJSON optionsJSON controlGroupInput timeRestore timeFrom timeTo"
    " refreshInterval version kibanaSavedObjectMeta",
}


def test_ids_are_unique() -> None:
    assert len(saved_objects()) == len(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_stamped_low_and_have_known_attributes_only(name: str) -> None:
    each = OBJECTS[name]
    assert each["coreMigrationVersion"] == "8.8.0"
    assert each["typeMigrationVersion"] == NEWEST[each["type"]]
    assert set(each["attributes"]) <= set(ATTRIBUTES[each["type"]].split())


@pytest.mark.parametrize("name", OBJECTS)
def test_references_resolve_to_objects_of_their_type(name: str) -> None:
    for reference in OBJECTS[name]["references"]:
        assert OBJECTS[reference["id"]]["type"] == reference["type"]


@pytest.mark.parametrize("name", [name for name, each in OBJECTS.items() if each["type"] == "dashboard"])
def test_panels_have_references_and_do_not_overlap(name: str) -> None:
    attributes = OBJECTS[name]["attributes"]
    slots = {reference["name"]: reference for reference in OBJECTS[name]["references"]}
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(attributes["panelsJSON"]):
        assert slots.pop(f"{panel['panelIndex']}:{panel['panelRefName']}")["type"] == panel["type"]
        grid = panel["gridData"]
        assert grid["x"] + grid["w"] <= 48
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        taken |= cells
    for control in json.loads(attributes["controlGroupInput"]["panelsJSON"]):
        assert slots.pop(f"controlGroup_{control}:optionsListDataView")["type"] == "index-pattern"
    assert not slots


@pytest.mark.parametrize("name", [name for name in OBJECTS if name.endswith("-head")])
def test_a_dashboard_says_at_its_top_what_fills_it(name: str) -> None:
    said = json.loads(OBJECTS[name]["attributes"]["visState"])["params"]["markdown"]
    named = re.search(r"`simquery (\w+)[^`]*` (fills this|puts a query here)", said)
    assert named is not None
    assert named[1] in cli.list_commands(click.Context(cli))


def test_every_object_is_shown_somewhere() -> None:
    used = {reference["id"] for each in OBJECTS.values() for reference in each["references"]}
    assert {name for name, each in OBJECTS.items() if each["type"] != "dashboard"} - used <= {"simquery-timings-view"}


def test_thumbnails_are_shown_as_pictures_that_leave_nothing_to_fetch() -> None:
    for view in ("simquery-results-view", "simquery-images-view"):
        formats = json.loads(OBJECTS[view]["attributes"]["fieldFormatMap"])
        for field, described in formats.items():
            if "thumbnail" in field:
                assert described["params"]["urlTemplate"].startswith("data:image/jpeg;base64,")


def test_columns_of_tables_are_as_wide_as_the_pictures_in_them() -> None:
    for each in OBJECTS.values():
        if each["type"] != "lens" or each["attributes"]["visualizationType"] != "lnsDatatable":
            continue
        state = each["attributes"]["state"]
        (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
        for placed in state["visualization"]["columns"]:
            if "thumbnail" in layer["columns"][placed["columnId"]]["sourceField"]:
                assert placed["width"] >= 160 + 16  # the picture and the padding of a cell


def test_the_lines_below_titles_fit_into_their_panels_on_a_screen_of_1280_pixels() -> None:
    for dashboard in (each for each in OBJECTS.values() if each["type"] == "dashboard"):
        slots = {reference["name"]: reference["id"] for reference in dashboard["references"]}
        for panel in json.loads(dashboard["attributes"]["panelsJSON"]):
            name = slots[f"{panel['panelIndex']}:{panel['panelRefName']}"]
            if name not in (specs := vega_specs()):
                continue
            space = 1264 * panel["gridData"]["w"] / 48 - 36
            for line in re.findall(r'"([^"]*)"', specs[name]["title"]["subtitle"]["expr"]):
                assert len(line) * 6.6 <= space, (name, line)  # 13 pixels high, some 6.3 wide


def test_queries_of_the_same_title_have_columns_of_their_own() -> None:
    (layer,) = OBJECTS["simquery-results-side-by-side"]["attributes"]["state"]["datasourceStates"]["formBased"][
        "layers"
    ].values()
    fields = {column["sourceField"] for column in layer["columns"].values()}
    assert "asked" in fields
    assert "title" not in fields


def test_nothing_points_outside() -> None:
    addresses = set(re.findall(r"https?://[^\"'\\ ]+", as_ndjson(OBJECTS.values())))
    assert addresses == {"https://vega.github.io/schema/vega-lite/v5.json"}  # a name; nobody fetches it


def test_the_ndjson_has_one_object_in_each_line() -> None:
    printed = CliRunner().invoke(cli, ["kibana", "objects"])
    assert [json.loads(line)["id"] for line in printed.output.splitlines()] == list(OBJECTS)


class Standin(http.server.BaseHTTPRequestHandler):
    """Answer as a real Kibana did, and record the requests."""

    answers: ClassVar[dict[str, tuple[int, Any]]]
    asked: ClassVar[list[tuple[str, dict[str, str], bytes]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status, content = self.answers.get(self.path, (404, {"message": "Not Found"}))
        encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *arguments: object) -> None:
        pass


IMPORT = "/api/saved_objects/_import?overwrite=true"
TAKEN = (200, {"success": True, "successCount": len(OBJECTS)})


@pytest.fixture
def address() -> Iterator[AnyHttpUrl]:
    Standin.answers, Standin.asked = {IMPORT: TAKEN}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Standin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield AnyHttpUrl(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def install(address: AnyHttpUrl, space: str | None = None, **settings: Any) -> None:
    with Kibana(address, Settings(**settings), space) as kibana:
        kibana.ensure_space()
        kibana.install(saved_objects())


def test_objects_are_sent_as_a_file_with_the_header_that_kibana_wants(address: AnyHttpUrl) -> None:
    install(address, username="elastic", password="geheim")
    ((path, headers, body),) = Standin.asked
    assert path == IMPORT
    assert headers["kbn-xsrf"]
    assert headers["authorization"] == "Basic " + base64.b64encode(b"elastic:geheim").decode()
    assert b'filename="simquery.ndjson"' in body
    assert as_ndjson(saved_objects()).encode() in body


def test_user_and_password_may_have_any_letters(address: AnyHttpUrl) -> None:
    install(address, username="zoë", password="пароль")
    ((_, headers, _),) = Standin.asked
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == "zoë:пароль"


def test_a_space_is_created_once(address: AnyHttpUrl) -> None:
    Standin.answers |= {"/api/spaces/space": (200, {"id": "fraud-7"}), f"/s/fraud-7{IMPORT}": TAKEN}
    install(address, "fraud-7", api_key="abc")
    Standin.answers["/api/spaces/space"] = (409, {"message": "conflict"})
    install(address, "fraud-7", api_key="abc")
    assert [path for path, _, _ in Standin.asked] == ["/api/spaces/space", f"/s/fraud-7{IMPORT}"] * 2
    assert {headers["authorization"] for _, headers, _ in Standin.asked} == {"ApiKey abc"}


def test_what_failed_is_named_although_the_status_is_200(address: AnyHttpUrl) -> None:
    missing = {"type": "missing_references", "references": [{"type": "index-pattern", "id": "nothing"}]}
    errors = [
        {"type": "lens", "id": "a-table", "error": {"type": "unknown", "message": "No such attribute"}},
        {"type": "search", "id": "a-search", "error": missing},
    ]
    Standin.answers[IMPORT] = (200, {"success": False, "successCount": 3, "errors": errors})
    with pytest.raises(KibanaError) as raised:
        install(address)
    assert "lens 'a-table': No such attribute" in str(raised.value)
    assert "search 'a-search': missing_references (index-pattern 'nothing')" in str(raised.value)


EXPORT = "/api/saved_objects/_export"


def check(address: AnyHttpUrl, kept: list[dict[str, Any]]) -> None:
    Standin.answers[EXPORT] = (200, as_ndjson(kept).encode())
    with Kibana(address, Settings()) as kibana:
        kibana.check(saved_objects())


def test_what_kibana_kept_whole_passes(address: AnyHttpUrl) -> None:
    check(address, saved_objects())


def test_what_kibana_lost_is_named(address: AnyHttpUrl) -> None:
    kept = [each for each in saved_objects() if each["id"] != "simquery-results-hits"]
    dashboard = next(each for each in kept if each["id"] == RESULTS_DASHBOARD)
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    dashboard["attributes"]["panelsJSON"] = json.dumps(panels[:-1])
    with pytest.raises(KibanaError) as raised:
        check(address, kept)
    assert "lens 'simquery-results-hits'" in str(raised.value)
    assert f"panel search 'simquery-results-said' of dashboard '{RESULTS_DASHBOARD}'" in str(raised.value)


def test_a_part_of_the_objects_is_a_failure(address: AnyHttpUrl) -> None:
    Standin.answers[IMPORT] = (200, {"success": True, "successCount": 3})
    with pytest.raises(KibanaError, match=f"3 of {len(OBJECTS)}"):
        install(address)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"message": "[security_exception\n\tRoot causes:\n\t\tno]: unable to authenticate user"}), "refuses"),
        ((403, {"message": "Unable to bulk_create dashboard"}), "does not allow this: Unable to bulk_create dashboard"),
        ((404, {"message": "Not Found"}), "check --url and --space"),
        ((503, {"message": "License is not available."}), "503: License is not available"),
        ((502, b"<html>a proxy</html>"), "502: it gave no reason"),
        ((200, b"<html>a login page</html>"), "200"),
    ],
)
def test_refusals_say_what_to_do(address: AnyHttpUrl, answer: tuple[int, Any], said: str) -> None:
    Standin.answers[IMPORT] = answer
    with pytest.raises(KibanaError, match=re.escape(said)) as raised:
        install(address, username="elastic", password="geheim")
    assert "\n" not in str(raised.value)
    assert "geheim" not in str(raised.value)


def test_nobody_there() -> None:
    with pytest.raises(KibanaError, match=r"http://127.0.0.1:1 cannot be reached .*check --url"):
        install(AnyHttpUrl("http://127.0.0.1:1"))


def test_a_missing_ca_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"SIMQUERY_CA_FILE names '/no/ca.pem'"):
        install(AnyHttpUrl("https://127.0.0.1:1"), ca_file="/no/ca.pem")


def test_the_link_leads_to_one_query() -> None:
    link = dashboard_link(AnyHttpUrl("https://kibana.lab:5601/"), "20260504T100000-abcdef")
    assert link.startswith(f"https://kibana.lab:5601/app/dashboards#/view/{RESULTS_DASHBOARD}?_a=")
    assert link.endswith("(query:(language:kuery,query:'query:%2220260504T100000-abcdef%22'))")


def test_in_a_space_the_link_leads_to_the_dashboard_of_that_space() -> None:
    link = dashboard_link(AnyHttpUrl("https://lab/kibana/s/fraud-7"), "20260504T100000-abcdef")
    (dashboard,) = re.findall(r"^https://lab/kibana/s/fraud-7/app/dashboards#/view/([^?]+)", link)
    assert dashboard in {each["id"] for each in saved_objects("fraud-7")}


def test_spaces_share_no_ids_and_their_objects_refer_to_each_other() -> None:
    objects = {each["id"]: each for each in saved_objects("fraud-7")}
    assert not objects.keys() & OBJECTS.keys()
    assert {reference["id"] for each in objects.values() for reference in each["references"]} <= objects.keys()


def test_an_address_may_name_the_space(address: AnyHttpUrl) -> None:
    Standin.answers |= {"/api/spaces/space": (200, {"id": "fraud-7"}), f"/s/fraud-7{IMPORT}": TAKEN}
    install(AnyHttpUrl(f"{address}s/fraud-7"))
    assert [path for path, _, _ in Standin.asked] == ["/api/spaces/space", f"/s/fraud-7{IMPORT}"]
