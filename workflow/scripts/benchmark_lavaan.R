# lavaan's side of the benchmark. Reads one command a line, fields separated by tabulators, and answers each with one
# line: "done", "missing" or "failed" and fields. Times are taken here, so that they hold nothing of the conversation.
#
#   load <file>      clients by variables, severity1, alliance_client1, alliance_therapist1, severity2, ...: done
#   fit              done, seconds with standard errors, log-likelihood

answer <- function(kind, ...) {
  cat(kind, vapply(c(...), format, "", digits = 17), sep = "\t")
  cat("\n")
  flush(stdout())
}

seconds_since <- function(start) as.numeric(difftime(Sys.time(), start, units = "secs"))

start <- Sys.time()
if (!suppressPackageStartupMessages(require("lavaan", character.only = TRUE, quietly = TRUE))) {
  answer("missing", "lavaan")
  quit(save = "no")
}
answer("done", seconds_since(start), as.character(getRversion()), as.character(packageVersion("lavaan")))

variables <- c("severity", "alliance_client", "alliance_therapist")
data <- NULL
model <- NULL

# As tutorials write it (Mulder & Hamaker 2021): a latent departure within clients for each observed variable.
model_syntax <- function(waves) {
  code <- character()
  add <- function(...) code <<- c(code, paste0(...))
  for (v in variables) {
    add("I_", v, " =~ ", paste0("1*", v, seq_len(waves), collapse = " + "))
    for (k in seq_len(waves)) {
      add("w_", v, k, " =~ 1*", v, k)
      add(v, k, " ~~ 0*", v, k)
      add(v, k, " ~ 1")
    }
  }
  for (i in 1:3) for (j in i:3) {
    add("I_", variables[i], " ~~ I_", variables[j])
    for (k in seq_len(waves)) add("w_", variables[i], k, " ~~ w_", variables[j], k)
  }
  for (k in 2:waves) for (effect in 1:3) for (cause in 1:3) {
    add("w_", variables[effect], k, " ~ p", effect, cause, "*w_", variables[cause], k - 1)
  }
  paste(code, collapse = "\n")
}

load_data <- function(path) {
  data <<- read.csv(path)
  model <<- model_syntax(ncol(data) / 3)
  answer("done")
}

fit_model <- function() {
  invisible(gc())
  start <- Sys.time()
  found <- suppressWarnings(lavaan(model, data, missing = "fiml", information = "observed", meanstructure = TRUE))
  seconds <- seconds_since(start)
  answer("done", seconds, as.numeric(logLik(found)))
}

input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1))) {
  fields <- strsplit(line, "\t", fixed = TRUE)[[1]]
  tryCatch(switch(fields[1], load = load_data(fields[2]), fit = fit_model()),
           error = function(problem) answer("failed", gsub("[\t\n]", " ", conditionMessage(problem))))
}
