NOTEBOOKS = sorted(path.stem for path in Path(NOTEBOOK_DIRECTORY).glob("[0-9]*.ipynb"))


rule notebook:
    input:
        notebook=f"{NOTEBOOK_DIRECTORY}/{{notebook}}.ipynb",
        finished=contracted_files(["example"]) if "example" in STUDIES else [],
    output:
        "results/notebooks/{notebook}.html",
    log:
        "results/logs/notebook_{notebook}.log",
    params:
        code=code_digest(["."]),
    script:
        "../scripts/notebook.py"


rule notebooks:
    input:
        expand("results/notebooks/{notebook}.html", notebook=NOTEBOOKS),
