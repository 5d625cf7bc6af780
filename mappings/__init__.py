"""One index template per kind of index, and the code that installs and checks them."""

from simquery.mappings.schema import (
    SCHEMA,
    case_indices,
    embedding_facts,
    files_index,
    images_index,
    install_templates,
    open_files_index,
    open_images_index,
    open_results_index,
    results_index,
    template,
)

__all__ = [
    "SCHEMA",
    "case_indices",
    "embedding_facts",
    "files_index",
    "images_index",
    "install_templates",
    "open_files_index",
    "open_images_index",
    "open_results_index",
    "results_index",
    "template",
]
