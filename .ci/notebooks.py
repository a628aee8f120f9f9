"""Execute every notebook from top to bottom; a cell that raises fails the run. Nothing is written back."""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

failed = False
for path in sorted(Path("notebooks").glob("*.ipynb")):
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    try:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": "notebooks"}}).execute()
    except Exception as error:
        failed = True
        print(f"{path}: FAILED\n{error}")
    else:
        print(f"{path}: passed in {time.perf_counter() - start:.0f} s")
sys.exit(failed)
