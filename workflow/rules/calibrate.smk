"""Calibration of the Bayesian models' posteriors over simulated data; tables are stored with the references."""

from alliance_outcome.analyses.calibration import designs as calibration_designs

CALIBRATION_REFERENCE = "config/reference/calibration"
CALIBRATION_CODE = [
    *("analyses/calibration", "analyses/coverage", "analyses/multilevel.py", "analyses/posteriors.py"),
    *("design/levels.py", "design/specification.py", "models"),
]


rule simulate_calibration:
    output:
        "results/calibration/{design}/{first}-{last}.parquet",
    log:
        "results/calibration/logs/{design}_{first}-{last}.log",
    benchmark:
        "results/calibration/benchmarks/{design}_{first}-{last}.tsv"
    wildcard_constraints:
        design="|".join(calibration_designs.DESIGNS),
        first=r"\d+",
        last=r"\d+",
    params:
        first=lambda wildcards: int(wildcards.first),
        stop=lambda wildcards: int(wildcards.last) + 1,
        code=code_digest(CALIBRATION_CODE),
    script:
        "../scripts/simulate_calibration.py"


rule tabulate_calibration:
    input:
        ranks=calibration_designs.result_files(ranks=True),
        intervals=calibration_designs.result_files(ranks=False),
    output:
        ranks=f"{CALIBRATION_REFERENCE}/ranks.csv",
        coverage=f"{CALIBRATION_REFERENCE}/coverage.csv",
        figure=f"{CALIBRATION_REFERENCE}/ranks.svg",
        page=f"{CALIBRATION_REFERENCE}/README.md",
    log:
        "results/calibration/logs/tabulate_calibration.log",
    params:
        code=code_digest(["analyses/calibration", "report/figures_calibration.py", "report/figure_style.py"]),
    script:
        "../scripts/tabulate_calibration.py"


rule calibrate:
    input:
        rules.tabulate_calibration.output.ranks,
    log:
        "results/calibration/logs/calibrate.log",
    script:
        "../scripts/calibrate.py"
