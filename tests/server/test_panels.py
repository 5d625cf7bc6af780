"""Every Vega panel: its request runs on the real mappings, and the real Vega draws the answer in a real browser."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import chain, product
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from simquery.distances import DISTANCES
from simquery.kibana.objects import vega_specs
from simquery.mappings import open_files_index, open_images_index, open_index
from tests.browser.rendering import CannotDrawError, answered, browser, drawn_page, install_packages, page

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
NETWORKS = ("vgg16", "resnet50", "inceptionresnetv2")
SIZES = (0, 1, 1000)
SPECS = vega_specs()


class Sections(HTMLParser):
    """What was drawn in each section of a page: its texts, how many marks, and what went wrong."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.marks: dict[str, int] = {}
        self.troubles: dict[str, str] = {}
        self.groups: list[str] = []
        self.section = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "section":
            self.section = values["id"] or ""
            self.texts[self.section] = []
            self.marks[self.section] = 0
            self.troubles[self.section] = (values.get("data-error") or "") + (values.get("data-warnings") or "")
        if tag == "g":
            self.groups.append(values.get("class") or "")
        if tag == "path" and self.section:
            self.marks[self.section] += "role-mark " in self.groups[-1]

    def handle_endtag(self, tag: str) -> None:
        if tag == "g":
            self.groups.pop()

    def handle_data(self, data: str) -> None:
        if self.section and data.strip():
            self.texts[self.section].append(data.strip())


def measures(number: int, run: str) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(1)
    names = ("nAUIRC", "IR@0.5", "IR@0.8", "P@50", "curve@0.50", "curve@1.00")
    experiments = (("none", 1), ("sum", 1), ("sum", 3), ("sum", 5))
    for place, (reference, model, distance, measure, (combine, references)) in enumerate(
        product(range(1000), NETWORKS, DISTANCES, names, experiments)
    ):
        if place == number:
            return
        yield {
            "run": run,
            "named": f"2026-05-04 10:00 · caltech256 · {run}",
            "at": START.isoformat(),
            "dataset": "caltech256",
            "model": model,
            "layer": "avg_pool",
            "distance": distance,
            "measure": measure,
            "value": float(random.beta(2, 20 + 5 * references)),
            "label": f"class {reference % 7}",
            "reference": f"{reference:064x}",
            "references": references,
            "combine": combine,
            "augment": "none",
        }


def timings(number: int, run: str) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(2)
    for place, (_, model, stage, distance) in enumerate(
        product(range(1000), NETWORKS, ("build", "extraction", "distance"), DISTANCES)
    ):
        if place == number:
            return
        document = {
            "run": run,
            "named": f"2026-05-04 10:00 · caltech256 · {run}",
            "at": START.isoformat(),
            "dataset": "caltech256",
            "model": model,
            "stage": stage,
            "engine": "elasticsearch",
            "seconds": float(random.gamma(9, 0.01)) * (1 + NETWORKS.index(model)),
            "count": 30607,
        }
        yield document | ({"distance": distance} if stage == "distance" else {})


def stages(number: int, run: str) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(4)
    rates = {"read": 900, "decode": 240, "embed": 170, "write": 2100}
    for place in range(number):
        stage = list(rates)[place % 4]
        yield {
            "run": run,
            "at": (START + timedelta(seconds=5 * place)).isoformat(),
            "dataset": run,
            "stage": stage,
            "seconds": float(random.normal(5, 0.2)) * 170 / rates[stage],
            "count": int(random.normal(850, 40)),
        } | ({"model": "mobilenetv2"} if stage in {"embed", "write"} else {})


def images(number: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(3)
    for place in range(number):
        yield {
            "sha256": f"{place:064x}",
            "paths": [f"/evidence/{place}.jpg"],
            "format": ("JPEG", "PNG", "GIF", "TIFF")[min(3, int(random.exponential(1)))],
            "camera": ("Canon EOS 5D", "NIKON D70", "Apple iPhone 6")[place % 3],
            "taken_at": (START - timedelta(days=int(random.integers(0, 2500)))).isoformat(),
            "location": {"lat": float(random.normal(52, 1)), "lon": float(random.normal(5, 2))},
            "indexed_at": (START + timedelta(seconds=place / 12)).isoformat(),
        }


def ledger(number: int) -> Iterator[dict[str, Any]]:
    for place in range(number):
        status = ("indexed", "indexed", "indexed", "duplicate", "unreadable", "skipped")[place % 6]
        yield {"path": f"/evidence/{place}", "status": status, "recorded_at": START.isoformat()}


def results(number: int, case: str) -> Iterator[dict[str, Any]]:
    for place in range(number):
        query, rank = divmod(place, 50)
        distance = list(DISTANCES)[query % len(DISTANCES)]
        yield {
            "query": f"20260504T1000{query:02d}-{case}-{query:02d}",
            "title": f"knife.jpg · mini · {distance}",
            "at": (START + timedelta(hours=query)).isoformat(),
            "case": case,
            "model": "mini",
            "distance": distance,
            "rank": rank + 1,
            "value": 0.1 + rank**0.5,
            "is_reference": False,
            "to_review": min(50, number - 50 * query),
        }


def marks(number: int, case: str) -> Iterator[dict[str, Any]]:
    """Mark every other hit, and every tenth hit twice."""
    for hit in results(number, case):
        said = ("relevant", "relevant", "irrelevant", "review")[hit["rank"] // 2 % 4]
        if hit["rank"] % 10 == 1:
            yield hit | {"mark": "review", "at": (START + timedelta(days=30)).isoformat()}
        if hit["rank"] % 2 == 1:
            yield hit | {"mark": said, "at": (START + timedelta(days=31)).isoformat()}


@pytest.fixture(scope="module")
def filters(client: Elasticsearch) -> Iterator[dict[int, dict[str, Any]]]:
    """Indices with 0, 1 and 1,000 documents of each kind, and the filters that choose them, by size."""
    own = f"t{uuid.uuid4().hex[:12]}"
    shared = {
        "simquery-measures": "run",
        "simquery-timings": "run",
        open_index(client, "results"): "case",
        open_index(client, "marks"): "case",
    }
    for kind in ("measures", "timings"):
        open_index(client, kind)
    chosen = {}
    for size in SIZES:
        case = f"{own}-{size}"
        kinds = {
            "simquery-measures": measures(size, case),
            "simquery-timings": chain(timings(size, case), stages(size, case)),
            "simquery-results": results(size, case),
            "simquery-marks": marks(size, case),
            open_files_index(client, case): ledger(size),
            open_images_index(client, case, "mini", 4, "f" * 64): images(size),
        }
        bulk(client, ({"_index": index, **each} for index, documents in kinds.items() for each in documents))
        client.indices.refresh(index="simquery-*")
        chosen[size] = {"case": case, "own": [name for name in kinds if name not in shared]}
    older = f"{own}-0999"
    for index, documents in (("measures", measures(1000, older)), ("timings", timings(1000, older))):
        bulk(client, ({"_index": f"simquery-{index}", **each, "model": "older"} for each in documents), refresh=True)
    chosen[1000]["older"] = older
    yield chosen
    client.delete_by_query(index="simquery-measures,simquery-timings", query={"term": {"run": older}}, refresh=True)
    for size in SIZES:
        client.indices.delete(index=",".join(chosen[size]["own"]))
        for index, field in shared.items():
            term = {"term": {field: chosen[size]["case"]}}
            client.delete_by_query(index=index, query=term, refresh=True)


def clause(name: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """Filter of the control at the top of the panel's dashboard."""
    return {"term": {"run" if name.startswith("simquery-evaluation-") else "case": chosen["case"]}}


@pytest.fixture(scope="module")
def drawn(
    client: Elasticsearch, filters: dict[int, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Sections:
    try:
        browser()
        install_packages()
    except CannotDrawError as error:
        pytest.skip(str(error))
    panels = {
        f"{name}/{size}": answered(client, spec, [clause(name, filters[size])])
        for name, spec in SPECS.items()
        for size in SIZES
    }
    runs = {"terms": {"run": [filters[1000]["case"], filters[1000]["older"]]}}
    panels |= {f"{name}/runs": answered(client, SPECS[name], [runs]) for name in EVALUATION}
    return Sections(drawn_page(tmp_path_factory.mktemp("drawn"), page(panels)))


@pytest.mark.parametrize("size", SIZES)
def test_every_panel_is_drawn_without_error_or_warning(drawn: Sections, size: int) -> None:
    # An axis without data has no extent; Kibana is told to keep such warnings to itself.
    expected = re.compile(r'(Infinite extent for field "\w+": \[Infinity, -Infinity\](; )?)*' if size < 1000 else "")
    troubles = {name: drawn.troubles[f"{name}/{size}"] for name in SPECS}
    assert {name: said for name, said in troubles.items() if not expected.fullmatch(said)} == {}


@pytest.mark.parametrize("name", SPECS)
def test_an_empty_panel_says_what_to_run(drawn: Sections, name: str) -> None:
    assert any("Run:  simquery " in text for text in drawn.texts[f"{name}/0"])
    assert drawn.marks[f"{name}/0"] == 0


@pytest.mark.parametrize("name", SPECS)
def test_a_full_panel_has_its_title_and_its_data(drawn: Sections, name: str) -> None:
    texts = drawn.texts[f"{name}/1000"]
    assert SPECS[name]["usermeta"]["title"] in texts
    assert not any("Nothing here yet" in text for text in texts)
    assert drawn.marks[f"{name}/1000"] > 0


@pytest.mark.parametrize("name", SPECS)
def test_axes_and_legends_say_what_they_measure(drawn: Sections, name: str) -> None:
    encodings = [
        SPECS[name].get("encoding", {}),
        *(layer.get("encoding", {}) for layer in SPECS[name].get("layer", [])),
    ]
    channels = [(channel, each) for encoding in encodings for channel, each in encoding.items()]
    titles = {each["title"] for channel, each in channels if channel != "tooltip" and each.get("title")}
    assert titles <= set(drawn.texts[f"{name}/1000"])


def test_the_latest_mark_of_each_hit_counts(drawn: Sections) -> None:
    said = "\n".join(drawn.texts["simquery-results-reviewed/1000"])
    assert said.count("19 of 50 reviewed, precision so far 0.684") == 10
    said = "\n".join(drawn.texts["simquery-results-reviewed/1"])
    assert said.count("1 of 1 reviewed, precision so far 1.000") == 1


EVALUATION = [name for name in SPECS if name.startswith("simquery-evaluation-")]


@pytest.mark.parametrize("name", EVALUATION)
def test_of_several_runs_a_panel_shows_the_newest_and_names_it(drawn: Sections, name: str) -> None:
    alone, mixed = f"{name}/1000", f"{name}/runs"
    assert drawn.marks[mixed] == drawn.marks[alone]
    assert any("-1000" in text and "newest" not in text for text in drawn.texts[alone])
    assert any("-1000 (the newest of 2 runs)" in text for text in drawn.texts[mixed])


def test_colours_are_those_that_the_colour_blind_can_tell_apart() -> None:
    okabe_ito = {"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#7f7f7f"}
    for name, spec in SPECS.items():
        for encoding in [each.get("encoding", {}) for each in (spec, *spec.get("layer", []))]:
            scale = encoding.get("color", {}).get("scale", {})
            assert set(scale.get("range", [])) <= okabe_ito, name
            if encoding.get("color", {}).get("field") == "distance":
                assert set(scale["domain"]) >= set(DISTANCES), name
