#: R's side of the benchmark stands beside the other scripts, wherever the working directory is.
R_SCRIPT = f"{Path(workflow.current_basedir).parent}/scripts/benchmark_engine.R"


rule measure_engine:
    input:
        script=R_SCRIPT,
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


rule benchmark:
    input:
        page="results/benchmark/speed.md",
        figure="results/benchmark/growth.svg",
    log:
        "results/logs/benchmark.log",
    script:
        "../scripts/benchmark.py"
