# Reference values for reliability within and between clients: simulates items, fits two-level one-factor models with
# lavaan, takes coefficients from semTools and psych, and writes <name>.csv (one row per session) and expected.json.
#
#   Rscript reference.R        (in this folder; R 4.2.2, lavaan 0.6.14, semTools 0.5.6, psych 2.2.9, jsonlite 1.8.4)

suppressMessages({library(lavaan); library(semTools); library(psych); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")

simulate <- function(seed, clients, items, smallest, largest, missing = 0) {
  set.seed(seed)
  sessions <- sample(smallest:largest, clients, replace = TRUE)
  client <- rep(seq_len(clients), sessions)
  within <- seq(.5, .9, length.out = items)
  between <- seq(.8, .4, length.out = items)
  stable <- outer(rnorm(clients), between) + matrix(rnorm(clients * items, sd = .3), clients)
  values <- stable[client, ] + outer(rnorm(length(client)), within) + matrix(rnorm(length(client) * items, sd = .7), ncol = items)
  values <- round(sweep(values, 2, seq_len(items) / 2, "+"), 4)
  values[runif(length(values)) < missing] <- NA
  data <- data.frame(client, values)
  names(data)[-1] <- paste0("item", seq_len(items))
  data[rowSums(!is.na(data[-1])) > 0, ]
}

model <- function(items) {
  names <- paste0("item", seq_len(items))
  loadings <- paste0("f =~ NA*", paste(names, collapse = " + "), "\n f ~~ 1*f")
  paste0("level: 1\n", loadings, "\nlevel: 2\n", loadings)
}

reference <- function(name, data) {
  items <- ncol(data) - 1
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, na = "")
  missing <- if (anyNA(data)) "ml" else "listwise"
  fit <- lavaan::cfa(model(items), data, cluster = "client", missing = missing, auto.fix.first = FALSE)
  stopifnot(lavInspect(fit, "converged"))
  sigma <- lavInspect(fit, "implied")
  found <- list(
    log_likelihood = as.numeric(logLik(fit)),
    chi_square = unname(fitMeasures(fit, "chisq")), df = unname(fitMeasures(fit, "df")),
    saturated = unname(fitMeasures(fit, "unrestricted.logl")),
    within = unname(sigma$within$cov), between = unname(sigma$client$cov)
  )
  if (!anyNA(data)) {
    # Within clients and of a session, then between clients as of a construct that sessions share (Lai 2021).
    # Denominators are those that the model implies.
    found$omega <- as.list(c(compRelSEM(fit, obs.var = FALSE, config = "f"),
                             compRelSEM(fit, obs.var = FALSE, shared = "f")))
    found$alpha <- unname(psych::alpha(data[-1])$total$raw_alpha)
    numbered <- transform(data, time = ave(client, client, FUN = seq_along))
    nested <- suppressWarnings(multilevel.reliability(numbered, grp = "client", Time = "time", items = 1 + seq_len(items),
                                                      lme = TRUE, lmer = FALSE, alpha = FALSE, aov = FALSE, plot = FALSE))
    found$nested <- list(sessions = max(numbered$time), of_clients = unname(nested$RkRn), of_change = unname(nested$Rcn))
  }
  found
}

data <- list(
  few = simulate(1, 80, 4, 5, 6),
  unbalanced = simulate(2, 120, 6, 1, 12),
  missing = simulate(3, 120, 5, 2, 9, missing = .1)
)
expected <- lapply(names(data), function(name) reference(name, data[[name]]))
names(expected) <- names(data)
write_json(expected, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
