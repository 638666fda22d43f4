"""Run one notebook on the finished example study and save it as a page that needs nothing else."""

import os
import tempfile
from pathlib import Path

from alliance_outcome.errors import AllianceOutcomeError, rule_log

#: The study that the notebooks look at, and the variable that tells them where its results are.
STUDY = "example"
RESULTS_VARIABLE = "ALLIANCE_OUTCOME_RESULTS"
CELL_SECONDS = 300

#: The lab template without the scripts that it would load from elsewhere, with text beside figures for those who
#: cannot see them, and with lines short enough to read.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style type="text/css">
main { max-width: 62rem; margin: 0 auto; }
.jp-RenderedMarkdown > * { max-width: 46rem; }
.jp-RenderedImage img { max-width: 100%; height: auto; }
.jp-OutputArea-output, .jp-InputArea-editor { overflow-x: auto; }
.jp-RenderedHTMLCommon table { margin-left: 0; }
@media (max-width: 40rem) { .jp-InputPrompt, .jp-OutputPrompt { display: none; } }
</style>
{%- endblock -%}
{%- block data_png scoped -%}
<div class="jp-RenderedImage jp-OutputArea-output">
<img alt="{{ cell.metadata.get('alt', '') | escape_html_keep_quotes }}"
 width="{{ output | get_metadata('width', 'image/png') or '' }}"
 src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}">
</div>
{%- endblock -%}
"""


class NotebookFailed(AllianceOutcomeError):
    """A cell of a notebook did not run; the message names the cell and never quotes it."""


def run_notebook(notebook, name: str, directory: Path, results: Path) -> None:
    """Run the cells of a notebook in place.

    Parameters
    ----------
    notebook : NotebookNode
        The notebook; its cells receive their outputs.
    name : str
        What messages call it.
    directory : Path
        Working directory of its kernel, as in Jupyter: where the notebook is.
    results : Path
        Results of the finished study.

    Raises
    ------
    NotebookFailed
        If a code cell fails, takes longer than :data:`CELL_SECONDS` or loses its kernel.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    resources = {"metadata": {"path": str(directory)}}
    client = NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=resources)
    with tempfile.TemporaryDirectory() as private:
        # What cells show goes through sockets in a private folder, not through a network port.
        manager = client.create_kernel_manager()
        manager.transport, manager.connection_file = "ipc", f"{private}/kernel.json"
        # A profile of its own: what a user lets IPython do at its start must not decide what the page shows.
        environment = os.environ | {
            RESULTS_VARIABLE: str(results.resolve()),
            "IPYTHONDIR": private,
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        with client.setup_kernel(env=environment):
            number = 0
            for index, cell in enumerate(notebook.cells):
                number += cell.cell_type == "code"
                try:
                    client.execute_cell(cell, index)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    kind = getattr(error, "ename", type(error).__name__)
                    raise NotebookFailed(failure(name, number, kind)) from None


def failure(name: str, number: int, kind: str) -> str:
    """Say which code cell failed and how; what the exception says may quote data and is left out."""
    return f"{name}, code cell {number}: {kind} -> see what it says with: uv run jupyter lab notebooks"


def notebook_page(notebook, name: str) -> str:
    """Turn a notebook that has run into a page that makes no request.

    Parameters
    ----------
    notebook : NotebookNode
        The notebook with its outputs.
    name : str
        Title of the page where the notebook has no heading.

    Returns
    -------
    str
        HTML with style and figures inside and without any script.
    """
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    heading = next((cell.source for cell in notebook.cells if cell.source.startswith("# ")), f"# {name}")
    exporter = HTMLExporter(
        template_name="lab",
        template_file="page.html.j2",
        extra_loaders=[DictLoader({"page.html.j2": TEMPLATE})],
    )
    title = heading.splitlines()[0].removeprefix("# ")
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return page


def main(snakemake) -> None:
    """Run the notebook and write its page."""
    import nbformat

    path = Path(snakemake.input.notebook)
    notebook = nbformat.read(path, as_version=4)
    run_notebook(notebook, path.stem, path.parent.resolve(), Path("results") / STUDY)
    Path(snakemake.output[0]).write_text(notebook_page(notebook, path.stem), encoding="utf-8")


if __name__ == "__main__":
    with rule_log(snakemake.log[0], STUDY, snakemake.rule):
        main(snakemake)
