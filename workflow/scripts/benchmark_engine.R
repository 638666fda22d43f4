# lme4's side of the benchmark. Reads one command a line, fields separated by tabulators, and answers each with one line:
# "done", "missing" or "failed" and fields. Times are taken here, so that they hold nothing of the conversation.

answer <- function(kind, ...) {
  cat(kind, vapply(c(...), format, "", digits = 17), sep = "\t")
  cat("\n")
  flush(stdout())
}

seconds_since <- function(start) as.numeric(difftime(Sys.time(), start, units = "secs"))

start <- Sys.time()
if (!suppressPackageStartupMessages(require(lme4, quietly = TRUE))) {
  answer("missing", "lme4")
  quit(save = "no")
}
answer("done", seconds_since(start), as.character(getRversion()), as.character(packageVersion("lme4")),
       paste0(basename(extSoftVersion()[["BLAS"]]), ", ", basename(La_library())))

columns <- c("y", "x", "z", "w", "client", "therapist")
model_formula <- y ~ x + z + w + (1 + x | client) + (1 | therapist)
control <- lmerControl(optimizer = "nloptwrap", calc.derivs = FALSE)
data <- NULL
model <- NULL

# Units are made factors here, outside the timing: lme4 would otherwise make them at every call.
load_data <- function(path, rows) {
  rows <- as.integer(rows)
  values <- readBin(path, "double", n = rows * length(columns), endian = "little")
  data <<- as.data.frame(matrix(values, nrow = rows, dimnames = list(NULL, columns)))
  data$client <<- factor(as.integer(data$client))
  data$therapist <<- factor(as.integer(data$therapist))
  invisible(gc())
  answer("done")
}

fit <- function() {
  invisible(gc())
  start <- Sys.time()
  model <<- lmer(model_formula, data = data, control = control)
  estimates <- list(fixef(model), vcov(model))
  seconds <- seconds_since(start)
  answer("done", seconds, as.numeric(logLik(model)))
}

# The refits keep the model's optimiser, and like it leave out derivatives.
bootstrap <- function(refits, cores) {
  invisible(gc())
  cores <- as.integer(cores)
  start <- Sys.time()
  bootMer(model, fixef, nsim = as.integer(refits), use.u = FALSE, seed = 1,
          parallel = if (cores > 1) "multicore" else "no", ncpus = cores)
  answer("done", seconds_since(start))
}

# Highest resident memory of this process in kB, where the system tells it.
peak_memory <- function() {
  status <- "/proc/self/status"
  lines <- if (file.exists(status)) grep("^VmHWM:", readLines(status), value = TRUE) else character()
  answer("done", if (length(lines)) as.numeric(gsub("[^0-9]", "", lines)) else NaN)
}

commands <- list(load = load_data, fit = fit, bootstrap = bootstrap, peak_memory = peak_memory)
input <- file("stdin", open = "r")
while (length(line <- readLines(input, n = 1)) == 1) {
  words <- strsplit(line, "\t", fixed = TRUE)[[1]]
  tryCatch(
    suppressMessages(do.call(commands[[words[1]]], as.list(words[-1]))),
    error = function(problem) answer("failed", gsub("[\t\n]", " ", conditionMessage(problem)))
  )
}
