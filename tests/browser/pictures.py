"""Pictures of all Vega panels, for the documentation.

    SIMQUERY_URL=… python -m tests.browser.pictures docs/kibana

draws them on what the cluster of the settings holds, or on the local node.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from simquery.connection import open_cluster
from simquery.kibana.objects import vega_specs
from simquery.settings import load_settings
from tests.browser.rendering import WIDTH, answered, drawn_page, install_packages, page

_HEIGHT = 360
_DASHBOARDS = ("results", "evidence", "indexing", "evaluation")


def main(target: Path) -> None:
    """Draw the panels of each dashboard below each other, one picture for each dashboard."""
    install_packages()
    target.mkdir(parents=True, exist_ok=True)
    with open_cluster(load_settings()) as client:
        panels = {name: answered(client, spec, []) for name, spec in vega_specs().items()}
    for dashboard in _DASHBOARDS:
        chosen = {name: spec for name, spec in panels.items() if name.startswith(f"simquery-{dashboard}-")}
        with tempfile.TemporaryDirectory() as temporary:
            whole = Path(temporary, "whole.png")
            drawn_page(Path(temporary), page(chosen, _HEIGHT), f"--screenshot={whole}")
            with Image.open(whole) as picture:
                # The window is taller than the panels; eight bits a pixel are plenty for charts, if no colour is lost.
                cut = picture.convert("RGB").crop((0, 0, WIDTH, _HEIGHT * len(chosen)))
                palette = cut.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
                palette.save(target / f"{dashboard}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
