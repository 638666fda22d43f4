# brms's side of the benchmark. Reads one command a line, fields separated by tabulators, and answers each with one
# line: "done", "missing" or "failed" and fields. Times are taken here, so that they hold nothing of the conversation.
#
#   load <file> <rows>                 data as engine_benchmark/designs.py writes them: done
#   compile <priors>                   priors as a line of JSON, in units of the outcome: done, seconds
#   sample <chains> <warmup> <draws> <cores> <seed>
#                                      done, seconds of wall time with the start of the chains' processes, smallest
#                                      bulk ESS and largest R-hat of fixed effects and variance parameters, divergences

answer <- function(kind, ...) {
  cat(kind, vapply(c(...), format, "", digits = 17), sep = "\t")
  cat("\n")
  flush(stdout())
}

seconds_since <- function(start) as.numeric(difftime(Sys.time(), start, units = "secs"))

start <- Sys.time()
for (package in c("brms", "jsonlite")) {
  if (!suppressPackageStartupMessages(require(package, character.only = TRUE, quietly = TRUE))) {
    answer("missing", package)
    quit(save = "no")
  }
}
# Debian keeps Boost outside R's package BH, where rstan looks for it.
if (!file.exists(rstan::rstan_options("boost_lib"))) rstan::rstan_options(boost_lib = "/usr/include")
# rstan advises -O3, with which models are some 15 % faster than with the -O2 of Debian's R; whoever has settings of
# their own keeps them. With -march=native, advised too, models crash beside a rstan that was not built so.
if (!length(tools::makevars_user())) {
  settings <- tempfile("Makevars")
  writeLines("CXX14FLAGS = -O3", settings)
  Sys.setenv(R_MAKEVARS_USER = settings)
}
answer("done", seconds_since(start), as.character(getRversion()), as.character(packageVersion("brms")),
       as.character(packageVersion("rstan")))

columns <- c("y", "x", "z", "w", "client", "therapist")
model_formula <- y ~ x + z + w + (1 + x | client) + (1 | therapist)
data <- NULL
model <- NULL

# What Stan and the compiler say would be taken for answers.
quietly <- function(expression) {
  sink(stderr())
  on.exit(sink())
  suppressMessages(suppressWarnings(expression))
}

# Standardised, each column over the units of its own level.
load_data <- function(path, rows) {
  rows <- as.integer(rows)
  values <- readBin(path, "double", n = rows * length(columns), endian = "little")
  data <<- as.data.frame(matrix(values, nrow = rows, dimnames = list(NULL, columns)))
  first <- list(x = rep(TRUE, rows), z = !duplicated(data$client), w = !duplicated(data$therapist))
  for (name in names(first)) data[[name]] <<- (data[[name]] - mean(data[[name]])) / sd(data[[name]][first[[name]]])
  data$client <<- factor(as.integer(data$client))
  data$therapist <<- factor(as.integer(data$therapist))
  answer("done")
}

priors_of <- function(values) {
  normal <- function(mean, sd, ...) set_prior(sprintf("normal(%s, %s)", mean, sd), ...)
  normal(values$intercept_mean, values$intercept_sd, class = "Intercept") +
    normal(0, values$effect_sd, class = "b") +
    normal(0, values$group_sd, class = "sd", group = "client", coef = "Intercept") +
    normal(0, values$slope_sd, class = "sd", group = "client", coef = "x") +
    normal(0, values$group_sd, class = "sd", group = "therapist", coef = "Intercept") +
    set_prior(sprintf("lkj(%s)", values$lkj_eta), class = "cor", group = "client") +
    normal(0, values$residual_sd, class = "sigma")
}

compile <- function(priors) {
  priors <- priors_of(parse_json(priors))
  start <- Sys.time()
  model <<- quietly(brm(model_formula, data, prior = priors, chains = 0, save_pars = save_pars(group = FALSE)))
  answer("done", seconds_since(start))
}

sample_posterior <- function(chains, warmup, draws, cores, seed) {
  invisible(gc())
  start <- Sys.time()
  fit <- quietly(update(model, newdata = data, recompile = FALSE, chains = as.integer(chains),
                        warmup = as.integer(warmup), iter = as.integer(warmup) + as.integer(draws),
                        cores = as.integer(cores), seed = as.integer(seed), refresh = 0, open_progress = FALSE))
  seconds <- seconds_since(start)
  parameters <- posterior::as_draws_array(fit, variable = "^(b|sd|cor)_|^sigma$", regex = TRUE)
  found <- posterior::summarise_draws(parameters, ess = posterior::ess_bulk, rhat = posterior::rhat)
  answer("done", seconds, min(found$ess), max(found$rhat), sum(nuts_params(fit, pars = "divergent__")$Value))
}

commands <- list(load = load_data, compile = compile, sample = sample_posterior)
input <- file("stdin", open = "r")
while (length(line <- readLines(input, n = 1)) == 1) {
  words <- strsplit(line, "\t", fixed = TRUE)[[1]]
  tryCatch(
    do.call(commands[[words[1]]], as.list(words[-1])),
    error = function(problem) answer("failed", gsub("[\t\n]", " ", conditionMessage(problem)))
  )
}
