"""The notebook runs, and what it ends its cells with shows itself."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "recipes" / "tour.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_its_results_show_themselves(tmp_path):
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells)  # stored without outputs
    for cell in book.cells:
        cell.source = cell.source.replace("20_000", "640").replace("5_000", "640")
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    kinds = [{kind for out in cell.outputs for kind in out.get("data", {})} for cell in cells]
    images, run, evaluation, page, samples = kinds
    assert "image/png" in images & samples and "text/html" in run & evaluation & page
    shown = [out.data["text/html"] for out in cells[3].outputs if "text/html" in out.get("data", {})]
    assert any("clean accuracy" in html and "<img" in html for html in shown)
