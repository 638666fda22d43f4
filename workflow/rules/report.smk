rule draw_figures:
    input:
        check="results/{study}/data/check.json",
        tables=figure_tables,
    output:
        [
            report(
                f"results/{{study}}/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="{study}",
                labels={"figure": name},
            )
            for name in FIGURES
        ],
        index="results/{study}/figures/figures.json",
    log:
        "results/{study}/logs/draw_figures.log",
    params:
        truth=False,
        settings=section(settings.ReportSettings),
        code=code_digest(REPORT_CODE),
    script:
        "../scripts/draw_figures.py"


use rule draw_figures as draw_truth with:
    input:
        check="results/{study}/data/check.json",
        tables=figure_tables,
        truth="results/{study}/truth.csv",
    output:
        report(
            "results/{study}/figures/truth.svg",
            caption="../report/truth.rst",
            category="{study}",
            labels={"figure": "truth"},
        ),
        index="results/{study}/figures/truth.json",
    log:
        "results/{study}/logs/draw_truth.log",
    params:
        truth=True,
        settings=section(settings.ReportSettings),
        code=code_digest(REPORT_CODE),


rule check_release:
    input:
        check="results/{study}/data/check.json",
        pseudonyms="results/{study}/data/pseudonyms.csv",
        published=published_files,
    output:
        "results/{study}/tables/release.csv",
    log:
        "results/{study}/logs/check_release.log",
    params:
        code=code_digest(
            [
                "analyses/release.py",
                "analyses/description.py",
                "analyses/estimates.py",
                "data/disclosure_risk.py",
            ]
        ),
    script:
        "../scripts/check_release.py"


rule render_report:
    input:
        check="results/{study}/data/check.json",
        pseudonyms="results/{study}/data/pseudonyms.csv",
        release="results/{study}/tables/release.csv",
        tables=figure_tables,
        figures=figure_files,
    output:
        report(
            "results/{study}/report/report.html",
            caption="../report/report.rst",
            category="{study}",
            labels={"figure": "report"},
        ),
    log:
        "results/{study}/logs/render_report.log",
    params:
        study=section(*REPORTED_SECTIONS),
        sampler=RUN.sampler.model_dump(),
        seed=RUN.seed,
        simulated=lambda wildcards: is_simulated(wildcards.study),
        code=code_digest([*REPORT_CODE, "analyses/release.py", "provenance.py"]),
    script:
        "../scripts/render_report.py"
