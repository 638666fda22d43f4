#: R's side of the benchmarks stands beside the other scripts, wherever the working directory is.
R_SCRIPTS = f"{Path(workflow.current_basedir).parent}/scripts"


rule measure_engine:
    input:
        script=f"{R_SCRIPTS}/benchmark_engine.R",
    output:
        measurements="results/benchmark/measurements.csv",
        growth="results/benchmark/growth.csv",
        conditions="results/benchmark/conditions.json",
    log:
        "results/logs/measure_engine.log",
    # Nothing else may run beside it.
    threads: workflow.cores
    params:
        seed=derive_seed(RUN.seed, "benchmark"),
        code=code_digest(["models", "analyses/engine_benchmark"]),
    script:
        "../scripts/measure_engine.py"


rule tabulate_engine_speed:
    input:
        measurements="results/benchmark/measurements.csv",
        growth="results/benchmark/growth.csv",
        conditions="results/benchmark/conditions.json",
    output:
        speed="results/benchmark/speed.csv",
        page="results/benchmark/speed.md",
        figure="results/benchmark/growth.svg",
    log:
        "results/logs/tabulate_engine_speed.log",
    params:
        code=code_digest(
            [
                "analyses/engine_benchmark",
                "report/engine_speed.py",
                "report/figures_engine_growth.py",
                "report/figure_style.py",
            ]
        ),
    script:
        "../scripts/tabulate_engine_speed.py"


rule measure_bayesian:
    input:
        script=f"{R_SCRIPTS}/benchmark_brms.R",
    output:
        measurements="results/benchmark/bayesian_measurements.csv",
        conditions="results/benchmark/bayesian_conditions.json",
    log:
        "results/logs/measure_bayesian.log",
    # Nothing else may run beside it.
    threads: workflow.cores
    params:
        seed=derive_seed(RUN.seed, "benchmark", "bayesian") % 2**31,
        code=code_digest(["models", "analyses/bayesian_benchmark"]),
    script:
        "../scripts/measure_bayesian.py"


rule tabulate_bayesian_speed:
    input:
        measurements="results/benchmark/bayesian_measurements.csv",
        conditions="results/benchmark/bayesian_conditions.json",
    output:
        page="results/benchmark/bayesian_speed.md",
    log:
        "results/logs/tabulate_bayesian_speed.log",
    params:
        code=code_digest(
            ["analyses/bayesian_benchmark", "report/bayesian_speed.py", "report/engine_speed.py"]
        ),
    script:
        "../scripts/tabulate_bayesian_speed.py"


rule measure_panel:
    input:
        script=f"{R_SCRIPTS}/benchmark_lavaan.R",
    output:
        measurements="results/benchmark/panel_measurements.csv",
        conditions="results/benchmark/panel_conditions.json",
    log:
        "results/logs/measure_panel.log",
    # Nothing else may run beside it.
    threads: workflow.cores
    params:
        seed=derive_seed(RUN.seed, "benchmark", "panel") % 2**31,
        code=code_digest(["models", "analyses/panel_benchmark", "analyses/panel_coverage"]),
    script:
        "../scripts/measure_panel.py"


rule tabulate_panel_speed:
    input:
        measurements="results/benchmark/panel_measurements.csv",
        conditions="results/benchmark/panel_conditions.json",
    output:
        page="results/benchmark/panel_speed.md",
    log:
        "results/logs/tabulate_panel_speed.log",
    params:
        code=code_digest(["analyses/panel_benchmark", "report/panel_speed.py", "report/engine_speed.py"]),
    script:
        "../scripts/tabulate_panel_speed.py"


rule benchmark:
    input:
        pages=[f"results/benchmark/{name}.md" for name in ("speed", "bayesian_speed", "panel_speed")],
        figure="results/benchmark/growth.svg",
    log:
        "results/logs/benchmark.log",
    script:
        "../scripts/benchmark.py"
