# Reference values for the panel models: simulates clients, fits them with lavaan, and writes <name>.csv (one row per
# client and session) and expected.json beside this script.
#
#   Rscript reference.R                            (in this folder; R 4.2.2, lavaan 0.6.14, jsonlite 1.8.4)
#
# Syntax is written as tutorials of the random-intercept cross-lagged panel model write it (Mulder & Hamaker 2021): a
# latent departure within clients for each observed variable, whose residual variance is zero.

suppressMessages({library(lavaan); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
variables <- c("severity", "alliance_client", "alliance_therapist")

# ---------------------------------------------------------------------------------------------------------------------
# Data: severity, then both ratings, in waves; therapists differ in where their clients are
# ---------------------------------------------------------------------------------------------------------------------

simulate <- function(seed, clients, waves, trends = 0, therapists = 20) {
  set.seed(seed)
  normal <- function(n, covariance) matrix(rnorm(n * nrow(covariance)), n) %*% chol(covariance)
  carried <- matrix(c(.40, -.15, -.05,  -.15, .30, .10,  -.10, .10, .30), 3, byrow = TRUE)
  stable <- normal(clients, matrix(c(1, -.4, -.3, -.4, 1, .5, -.3, .5, 1), 3))
  therapist <- rep_len(seq_len(therapists), clients)
  stable <- stable + normal(therapists, .15 * diag(3))[therapist, ]
  slopes <- trends * normal(clients, matrix(c(1, -.3, -.2, -.3, 1, .3, -.2, .3, 1), 3))
  innovation <- matrix(c(.8, -.2, -.1, -.2, .8, .2, -.1, .2, .8), 3)
  departure <- normal(clients, diag(3))
  found <- array(NA, c(clients, waves, 3))
  for (wave in seq_len(waves)) {
    if (wave > 1) departure <- departure %*% t(carried) + normal(clients, innovation)
    found[, wave, ] <- stable + (wave - 1) * slopes + departure
    found[, wave, ] <- sweep(found[, wave, ], 2, c(15 - .4 * wave, 5, 5.2), "+")
  }
  found[, , 1] <- 15 + 6 * (found[, , 1] - 15)
  list(values = found, therapist = therapist)
}

# 20 % of values at random; or clients who leave, the more probably the worse they were (missing at random).
at_random <- function(values, share = .2) { values[runif(length(values)) < share] <- NA; values }
leaving <- function(values) {
  left <- rep(FALSE, nrow(values))
  for (wave in 2:dim(values)[2]) {
    severity <- values[, wave - 1, 1]
    left <- left | runif(nrow(values)) < plogis(-2.2 + .06 * (ifelse(is.na(severity), 0, severity) - 15))
    values[left, wave, ] <- NA
  }
  values
}

rounded <- function(values) { values[] <- round(values, 4); values }

wide <- function(data) {
  waves <- dim(data$values)[2]
  found <- as.data.frame(matrix(aperm(data$values, c(1, 3, 2)), dim(data$values)[1]))
  names(found) <- paste0(rep(variables, waves), rep(seq_len(waves), each = 3))
  cbind(found, therapist = data$therapist)
}

long <- function(data) {
  waves <- dim(data$values)[2]
  found <- do.call(rbind, lapply(seq_len(waves), function(wave) {
    rows <- as.data.frame(matrix(data$values[, wave, ], ncol = 3)); names(rows) <- variables
    cbind(client = seq_len(nrow(rows)), therapist = data$therapist, session = wave, rows)
  }))
  found[order(found$client, found$session), ]
}

# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------

lines <- function(...) paste(c(...), collapse = "\n")
short <- c(severity = "y", alliance_client = "c", alliance_therapist = "t")

cross_lagged <- function(waves, slopes = FALSE, varying = FALSE, after = FALSE, lags = 1, error = NULL) {
  code <- character()
  add <- function(...) code <<- c(code, paste0(...))
  for (v in variables) {
    add("I_", v, " =~ ", paste0("1*", v, seq_len(waves), collapse = " + "))
    if (slopes) add("S_", v, " =~ ", paste0(seq_len(waves) - 1, "*", v, seq_len(waves), collapse = " + "))
    for (k in seq_len(waves)) {
      add("w_", v, k, " =~ 1*", v, k)
      known <- if (v %in% names(error)) error[[v]] else 0
      add(v, k, " ~~ ", known, "*", v, k)
      add(v, k, " ~ 1")
    }
  }
  between <- c(paste0("I_", variables), if (slopes) paste0("S_", variables))
  for (i in seq_along(between)) for (j in i:length(between)) add(between[i], " ~~ ", between[j])
  for (k in seq_len(waves)) for (i in 1:3) for (j in i:3) {
    directed <- after && k > 1 && i == 1 && j > 1
    if (!directed) add("w_", variables[i], k, " ~~ w_", variables[j], k)
  }
  for (k in 2:waves) for (effect in variables) for (cause in variables) for (lag in seq_len(min(lags, k - 1))) {
    label <- paste0(short[[effect]], short[[cause]], lag, if (varying) k)
    add("w_", effect, k, " ~ ", label, "*w_", cause, k - lag)
  }
  if (after) for (k in 2:waves) for (effect in variables[-1]) {
    add("w_", effect, k, " ~ ", short[[effect]], "y0", if (varying) k, "*w_severity", k)
  }
  lines(code)
}

dynamic <- function(waves) {
  code <- character()
  add <- function(...) code <<- c(code, paste0(...))
  ratings <- paste0(rep(variables[-1], waves - 1), rep(seq_len(waves - 1), each = 2))
  exogenous <- c("severity1", ratings)
  add("alpha =~ ", paste0("1*severity", 2:waves, collapse = " + "))
  add("alpha ~~ alpha")
  for (i in seq_along(exogenous)) {
    add(exogenous[i], " ~ 1")
    add("alpha ~~ ", exogenous[i])
    for (j in i:length(exogenous)) add(exogenous[i], " ~~ ", exogenous[j])
  }
  for (k in 2:waves) {
    add("severity", k, " ~ 1 + yy1*severity", k - 1, " + yc1*alliance_client", k - 1, " + yt1*alliance_therapist", k - 1)
    add("severity", k, " ~~ severity", k)
    if (k < waves) for (later in k:(waves - 1)) for (v in variables[-1]) add("severity", k, " ~~ ", v, later)
  }
  lines(code)
}

# ---------------------------------------------------------------------------------------------------------------------
# Fits
# ---------------------------------------------------------------------------------------------------------------------

fit <- function(name, data, code, ...) {
  # Moments of the saturated model more exactly than by default, for chi-square.
  found <- lavaan(code, wide(data), missing = "fiml", information = "observed", meanstructure = TRUE,
                  em.h1.tol = 1e-10, em.h1.iter.max = 20000,
                  control = list(iter.max = 10000, eval.max = 20000), ...)
  stopifnot(lavInspect(found, "converged"))
  table <- parameterEstimates(found, ci = FALSE)
  paths <- table[table$op == "~" & table$label != "", c("label", "est", "se")]
  paths <- paths[!duplicated(paths$label), ]
  variances <- table[table$op == "~~" & table$se > 0, c("lhs", "rhs", "est", "se")]
  measures <- fitMeasures(found, c("logl", "npar", "chisq", "df", "cfi", "tli", "rmsea", "rmsea.ci.lower",
                                   "rmsea.ci.upper", "srmr", "aic", "bic", "unrestricted.logl"))
  message(name, ": log-likelihood ", format(measures[["logl"]], digits = 12))
  list(paths = paths, variances = variances, measures = as.list(measures))
}

data <- list(
  complete = simulate(11, 260, 5),
  random = simulate(12, 240, 6),
  dropout = simulate(13, 300, 6, trends = .12)
)
data$random$values <- at_random(data$random$values)
data$dropout$values <- leaving(data$dropout$values)
for (name in names(data)) {
  data[[name]]$values <- rounded(data[[name]]$values)
  write.csv(long(data[[name]]), paste0(name, ".csv"), row.names = FALSE, na = "")
}

found <- list(
  complete_varying = fit("complete_varying", data$complete, cross_lagged(5, varying = TRUE)),
  complete_after = fit("complete_after", data$complete, cross_lagged(5, after = TRUE)),
  complete_slopes = fit("complete_slopes", data$complete, cross_lagged(5, slopes = TRUE)),
  complete_dynamic = fit("complete_dynamic", data$complete, dynamic(5)),
  random_invariant = fit("random_invariant", data$random, cross_lagged(6)),
  random_lags = fit("random_lags", data$random, cross_lagged(6, lags = 2)),
  random_error = fit("random_error", data$random,
                     cross_lagged(6, error = list(alliance_client = .15, alliance_therapist = .25))),
  random_dynamic = fit("random_dynamic", data$random, dynamic(6)),
  random_robust = fit("random_robust", data$random, cross_lagged(6), estimator = "MLR", cluster = "therapist"),
  dropout_slopes = fit("dropout_slopes", data$dropout, cross_lagged(6, slopes = TRUE)),
  dropout_plain = fit("dropout_plain", data$dropout, cross_lagged(6)),
  dropout_dynamic = fit("dropout_dynamic", data$dropout, dynamic(6))
)
versions <- list(R = as.character(getRversion()), lavaan = as.character(packageVersion("lavaan")))
write_json(c(list(versions = versions), found), "expected.json", auto_unbox = TRUE, digits = NA, pretty = TRUE)
