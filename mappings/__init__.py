"""One index template per kind of index, and the code that installs and checks them."""

from simquery.mappings.schema import (
    SCHEMA,
    VECTOR_INDEXES,
    EmbeddingFacts,
    case_indices,
    embedding_facts,
    files_index,
    images_index,
    install_templates,
    open_files_index,
    open_images_index,
    open_measures_index,
    open_results_index,
    open_timings_index,
    results_index,
    store_candidates,
    template,
)

__all__ = [
    "SCHEMA",
    "VECTOR_INDEXES",
    "EmbeddingFacts",
    "case_indices",
    "embedding_facts",
    "files_index",
    "images_index",
    "install_templates",
    "open_files_index",
    "open_images_index",
    "open_measures_index",
    "open_results_index",
    "open_timings_index",
    "results_index",
    "store_candidates",
    "template",
]
