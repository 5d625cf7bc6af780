import pytest
from elasticsearch import Elasticsearch

from simquery.errors import CaseError, SchemaError
from simquery.mappings import (
    SCHEMA,
    VECTOR_INDEXES,
    EmbeddingFacts,
    embedding_facts,
    files_index,
    images_index,
    install_templates,
    open_files_index,
    open_images_index,
    open_index,
    template,
)


def test_installing_templates_again_changes_nothing(client: Elasticsearch) -> None:
    install_templates(client)
    before = client.indices.get_index_template(name="simquery-*").body
    install_templates(client)
    assert client.indices.get_index_template(name="simquery-*").body == before
    kinds = ("files", "images", "marks", "measures", "results", "timings")
    assert {entry["name"] for entry in before["index_templates"]} == {f"simquery-{kind}" for kind in kinds}


def test_an_index_gets_the_mapping_of_its_template_and_the_facts_of_its_case(client: Elasticsearch, case: str) -> None:
    name = open_images_index(client, case, "net", 128, "f" * 64)
    mapping = client.indices.get_mapping(index=name).body[name]["mappings"]
    embedding = mapping["properties"].pop("embedding")
    expected = dict(template("images")["template"]["mappings"]["properties"])
    # The server does not repeat what is its default anyway.
    assert {"element_type": "float"} | embedding == expected.pop("embedding") | {"dims": 128}
    assert mapping["properties"] == expected
    assert mapping["dynamic"] == "strict"
    assert mapping["_meta"] == {"schema": SCHEMA, "case": case, "model": "net", "dims": 128, "fingerprint": "f" * 64}


def test_opening_an_index_again_finds_it(client: Elasticsearch, case: str) -> None:
    assert open_files_index(client, case) == open_files_index(client, case) == files_index(case)
    for _ in range(2):
        open_images_index(client, case, "net", 8, "f" * 64)
    assert embedding_facts(client, case, "net") == EmbeddingFacts(8, "f" * 64)


@pytest.mark.parametrize("similarity", ["cosine", "l2_norm"])
@pytest.mark.parametrize("kind", [kind for kind in VECTOR_INDEXES if kind != "none"])
def test_a_graph_is_what_it_was_made_as(client: Elasticsearch, case: str, kind: str, similarity: str) -> None:
    name = open_images_index(client, case, "net", 64, "f" * 64, similarity=similarity, vector_index=kind)
    assert embedding_facts(client, case, "net") == EmbeddingFacts(64, "f" * 64, similarity, kind)
    pinned = VECTOR_INDEXES[kind]
    assert pinned is not None
    stored = client.indices.get_mapping(index=name).body[name]["mappings"]["properties"]["embedding"]["index_options"]
    assert pinned.items() <= stored.items()
    open_images_index(client, case, "net", 64, "f" * 64, vector_index="none")  # what is there stays as it is
    assert embedding_facts(client, case, "net").index_type == kind


def test_an_index_of_another_schema_version_is_refused(client: Elasticsearch, case: str) -> None:
    client.indices.create(index=files_index(case), mappings={"_meta": {"schema": SCHEMA + 1}})
    with pytest.raises(SchemaError, match=f"schema version {SCHEMA + 1}"):
        open_files_index(client, case)
    client.indices.create(index=images_index(case, "net"), mappings={"_meta": {"schema": SCHEMA + 1}})
    with pytest.raises(SchemaError, match=f"schema version {SCHEMA + 1}"):
        embedding_facts(client, case, "net")


def test_vectors_of_other_weights_are_refused(client: Elasticsearch, case: str) -> None:
    open_images_index(client, case, "net", 8, "a" * 64)
    with pytest.raises(SchemaError, match="other weights"):
        open_images_index(client, case, "net", 8, "b" * 64)


def test_cases_and_models_whose_names_run_together_are_kept_apart(client: Elasticsearch, case: str) -> None:
    open_images_index(client, case, "x-net", 8, "a" * 64)
    with pytest.raises(SchemaError, match="belongs to case"):
        open_images_index(client, f"{case}-x", "net", 8, "a" * 64)


def test_a_case_without_pictures_says_what_there_is(client: Elasticsearch, case: str) -> None:
    open_images_index(client, case, "net", 8, "a" * 64)
    with pytest.raises(CaseError, match=f"Nothing has been indexed yet in case '{case}' with model 'other'.*'net'"):
        embedding_facts(client, case, "other")


def test_saved_results_and_marks_outlive_a_new_schema_of_the_cases(
    client: Elasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody can make them again, so a number that rises with the mappings of pictures must not lock them.
    for kind in ("results", "marks"):
        name = open_index(client, kind)
        made = client.indices.get_mapping(index=name).body[name]["mappings"]["_meta"]["schema"]
        assert made == template(kind)["template"]["mappings"]["_meta"]["schema"]
        monkeypatch.setattr("simquery.mappings.schema.SCHEMA", made + 1)
        assert open_index(client, kind) == name
