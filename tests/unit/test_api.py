"""The public surface of the package."""

import subprocess
import sys

import simquery

PUBLIC = {
    "Case",
    "Place",
    "Settings",
    "SimqueryError",
    "__version__",
    "cluster_status",
    "evaluate",
    "load_settings",
    "open_case",
}


def test_the_public_names_are_pinned_documented_and_there() -> None:
    assert set(simquery.__all__) == PUBLIC
    assert set(dir(simquery)) == PUBLIC
    for name in PUBLIC - {"__version__"}:
        assert getattr(simquery, name).__doc__


def test_the_methods_of_a_case_are_pinned_and_documented() -> None:
    methods = {name: value for name, value in vars(simquery.Case).items() if not name.startswith("_")}
    assert set(methods) == {
        "close",
        "hits",
        "index",
        "mark",
        "model",
        "name",
        "prepare",
        "query",
        "rank",
        "recall",
        "review",
        "save",
        "status",
        "verify",
        "watch",
    }
    assert all(method.__doc__ for method in methods.values())


def test_importing_the_package_loads_neither_tensorflow_nor_the_elasticsearch_client() -> None:
    program = "import sys, simquery; print(sorted({'tensorflow', 'elasticsearch', 'numpy', 'PIL'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
