# Reference values for tests/parity/test_explained_variance_parity.py: simulates the data sets, fits them with lme4, works
# out R-squared by the formulas below, and writes <design>.csv and expected.json beside this script.
#
#   Rscript reference.R        (R 4.2.2, lme4 1.1-31, jsonlite 1.8.4)
#
# The formulas are those by which the R package r2mlm 0.3 computes the measures of Rights & Sterba (10.1037/met0000184; for
# three levels 10.1080/00273171.2021.1985948), read in its sources (functions r2mlm_manual and r2mlm3_manual) and written
# anew, in its conventions: var() of the columns over rows. "nakagawa" and "johnson" are R-squared of Nakagawa & Schielzeth
# (10.1111/j.2041-210x.2012.00261.x) with the random part as the mean of z' Psi z over rows (10.1111/2041-210X.12225).

suppressMessages({library(lme4); library(jsonlite)})
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e6), calc.derivs = FALSE)
set.seed(20262, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")

quadratic <- function(g, v) as.numeric(t(g) %*% v %*% g)
trace_of <- function(a, b) sum(diag(as.matrix(a) %*% as.matrix(b)))
entries <- function(m) lapply(seq_len(nrow(m)), function(i) I(unname(m[i, ])))
psi_of <- function(fit, group) { v <- VarCorr(fit)[[group]]; matrix(v, nrow(v), dimnames = list(rownames(v), colnames(v))) }

# Two levels, every predictor at one level only.
centred_measures <- function(fit, data, within, between, slopes) {
  g <- fixef(fit); psi <- psi_of(fit, "client"); s2 <- sigma(fit)^2
  f1 <- quadratic(g[within], var(data[within]))
  f2 <- quadratic(g[between], var(data[between]))
  v <- if (length(slopes)) trace_of(var(data[slopes]), psi[slopes, slopes]) else 0
  m <- psi[1, 1]
  w <- f1 + v + s2; b <- f2 + m; t <- w + b
  list(total = list(f1 = f1 / t, f2 = f2 / t, v = v / t, m = m / t, f = (f1 + f2) / t, fv = (f1 + f2 + v) / t,
                    fvm = (f1 + f2 + v + m) / t),
       within = list(f1 = f1 / w, v = v / w, fv = (f1 + v) / w), between = list(f2 = f2 / b, m2 = m / b))
}

# Two levels, predictors as they are: measures of the total variance only.
uncentred_measures <- function(fit, data, predictors, slopes) {
  g <- fixef(fit)[predictors]; psi <- psi_of(fit, "client"); z <- cbind(1, data[slopes])
  f <- quadratic(g, var(data[predictors])); v <- trace_of(var(z), psi); m <- quadratic(colMeans(z), psi)
  t <- f + v + m + sigma(fit)^2
  list(total = list(f = f / t, v = v / t, m = m / t, fv = (f + v) / t, fvm = (f + v + m) / t))
}

# Three levels, predictors split into parts by means over rows; v32 stands by itself, because r2mlm puts it at level 3.
three_level_variances <- function(fit, data, predictors, slopes2, slopes3) {
  g <- fixef(fit)[predictors]
  split <- function(columns) {
    x <- as.matrix(data[columns])
    of_client <- apply(x, 2, ave, data$client); of_therapist <- apply(x, 2, ave, data$therapist)
    list(x - of_client, of_client - of_therapist, of_therapist)
  }
  out <- setNames(lapply(split(predictors), function(part) quadratic(g, var(part))), c("f1", "f2", "f3"))
  for (k in 2:3) {
    slopes <- list(slopes2, slopes3)[[k - 1]]
    psi <- psi_of(fit, c("client", "therapist")[k - 1])
    for (l in 1:3) out[[paste0("v", l, k)]] <- trace_of(var(split(slopes)[[l]]), psi[-1, -1])
    out[[paste0("m", k)]] <- quadratic(c(1, colMeans(data[slopes])), psi)
  }
  c(out, residual = sigma(fit)^2)
}

nakagawa_johnson <- function(fit) {
  fixed <- var(as.vector(getME(fit, "X") %*% fixef(fit)))
  random <- sum(sapply(names(VarCorr(fit)), function(group) {
    z <- getME(fit, "mmList")[[which(names(getME(fit, "cnms")) == group)]]
    mean(rowSums((z %*% psi_of(fit, group)) * z))
  }))
  total <- fixed + random + sigma(fit)^2
  list(marginal = fixed / total, conditional = (fixed + random) / total)
}

record <- function(name, data, fit, call, measures, slopes) {
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  groups <- intersect(c("client", "therapist"), names(VarCorr(fit)))
  list(call = call, data = paste0(name, ".csv"), terms = names(fixef(fit))[-1], coefficients = unname(fixef(fit)),
       slopes = slopes, covariances = lapply(groups, function(group) entries(psi_of(fit, group))),
       residual = sigma(fit)^2, measures = measures, nakagawa_johnson = nakagawa_johnson(fit))
}

# Rows with parts of every predictor at every level; six decimals, so that the CSV files hold the data exactly.
simulate <- function(therapists, clients_each, sessions, offset) {
  therapist <- rep(seq_len(therapists), length.out = therapists * clients_each)
  client <- rep(seq_along(therapist), rep_len(sessions, length(therapist)))
  therapist <- therapist[client]
  n <- length(client)
  mixed <- function() rnorm(n) + 0.7 * rnorm(max(client))[client] + 0.5 * rnorm(therapists)[therapist]
  data <- data.frame(therapist, client, alliance = offset + mixed(), progress = mixed(),
                     severity_first = rnorm(max(client))[client], training = rnorm(therapists)[therapist])
  data$progress <- data$progress + 0.5 * (data$alliance - offset)
  u <- matrix(rnorm(2 * max(client)), ncol = 2); v <- matrix(rnorm(2 * therapists), ncol = 2)
  data$outcome <- 20 - 0.6 * data$alliance + 0.4 * data$progress + 0.8 * data$severity_first - 0.3 * data$training +
    0.9 * u[client, 1] + (0.4 * u[client, 2] - 0.2 * u[client, 1]) * data$alliance +
    0.7 * v[therapist, 1] + 0.4 * v[therapist, 2] * data$progress + rnorm(n)
  numbers <- !names(data) %in% c("therapist", "client")
  data[numbers] <- lapply(data[numbers], round, 6)
  data
}

expected <- list()
data <- simulate(10, 4, c(3, 5, 8, 6), offset = 0)
split <- transform(data, alliance_within = alliance - ave(alliance, client), alliance_between = ave(alliance, client),
                   progress_within = progress - ave(progress, client), progress_between = ave(progress, client))
within <- c("alliance_within", "progress_within")
between <- c("alliance_between", "progress_between", "severity_first")

fit <- lmer(outcome ~ alliance_within + progress_within + alliance_between + progress_between + severity_first +
              (1 + alliance_within + progress_within | client), split, control = tight)
expected$two_level_slopes <- record(
  "two_level", data, fit, "lmer(outcome ~ within + between + (1 + within | client)), within = x - ave(x, client)",
  list(centred = centred_measures(fit, split, within, between, within)), list(within))

fit <- lmer(outcome ~ alliance_within + progress_within + alliance_between + progress_between + severity_first +
              (1 | client), split, control = tight)
expected$two_level_intercepts <- record(
  "two_level", data, fit, "lmer(outcome ~ within + between + (1 | client))",
  list(centred = centred_measures(fit, split, within, between, character())), list(I(character())))

data <- simulate(10, 4, c(3, 5, 8, 6), offset = 3)
fit <- lmer(outcome ~ alliance + progress + severity_first + (1 + alliance | client), data, control = tight)
expected$two_level_uncentred <- record(
  "two_level_uncentred", data, fit, "lmer(outcome ~ alliance + progress + severity_first + (1 + alliance | client))",
  list(uncentred = uncentred_measures(fit, data, c("alliance", "progress", "severity_first"), "alliance")),
  list(I("alliance")))

data <- simulate(15, 5, c(4, 6, 9), offset = 2)
predictors <- c("alliance", "progress", "severity_first", "training")
fit <- lmer(outcome ~ alliance + progress + severity_first + training + (1 + alliance | client) +
              (1 + progress | therapist), data, control = tight)
expected$three_level <- record(
  "three_level", data, fit, "lmer(outcome ~ predictors + (1 + alliance | client) + (1 + progress | therapist))",
  list(variances = three_level_variances(fit, data, predictors, "alliance", "progress")),
  list(I("alliance"), I("progress")))

write_json(expected, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
