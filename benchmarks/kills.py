"""Kill indexing runs at random moments, let the last one finish, and count what is lost or stored twice.

Run against the local node or the cluster of the settings::

    simquery up
    python benchmarks/kills.py ../shared/data/caltech101 --model mini --kills 100

The case is new and is deleted at the end, unless ``--case`` names one. The exit code is 1 if a path has no entry, a
picture has no document, or something is stored twice.
"""

import argparse
import json
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

from simquery.connection import open_cluster
from simquery.indexer import Verifier, check_folders
from simquery.settings import load_settings

SLOWEST = 2.0


def main() -> None:
    """Kill, finish, verify and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="evidence folder")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--case")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    case = arguments.case or f"kills-{uuid.uuid4().hex[:8]}"
    (folder,) = check_folders([arguments.folder])
    command = [sys.executable, "-m", "simquery", "index", str(folder), "--case", case, "--model", arguments.model]
    moments = random.Random(arguments.seed)  # noqa: S311
    killed = 0
    while killed < arguments.kills:
        killed += kill_one(command, moments.uniform(0, SLOWEST))
    subprocess.run(command, check=True, capture_output=True)
    report = check(case, folder) | {"kills": killed}
    print(json.dumps(report) if arguments.json else "\n".join(f"{name:10} {value}" for name, value in report.items()))
    if not arguments.case:
        delete(case)
    sys.exit(bool(report["lost"] or report["doubled"]))


def kill_one(command: list[str], seconds: float) -> bool:
    """Start a run and kill it some time after it has begun to store; return whether it was still running."""
    with subprocess.Popen(
        [*command, "--verbose"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        if running.stderr is None:
            raise RuntimeError("a process without the pipe that was asked for")
        for line in running.stderr:
            if "begins" in line:
                break
        time.sleep(seconds)
        running.kill()
        return running.wait() != 0


def check(case: str, folder: Path) -> dict[str, object]:
    """Count what is lost, what is stored twice, and what else does not agree."""
    with open_cluster(load_settings(case=case)) as client:
        found = Verifier(client, case).verify([folder], rehash=True, progress=lambda _: None)
    problems = Counter(
        "doubled" if "twice" in difference.problem or "several" in difference.problem else "lost"
        for difference in found.differences
    )
    return {
        "files": found.files,
        "statuses": dict(found.statuses),
        "documents": found.documents,
        "lost": problems["lost"],
        "doubled": problems["doubled"],
    }


def delete(case: str) -> None:
    """Remove the indices of a case."""
    with open_cluster(load_settings(case=case), as_administrator=True) as client:
        for index in client.indices.get(index=f"simquery-*-{case}*").body:
            client.indices.delete(index=index)


if __name__ == "__main__":
    main()
