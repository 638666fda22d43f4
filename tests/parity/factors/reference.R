# Reference values for two-level factor models: simulates items, fits the models with lavaan, and writes <name>.csv (one
# row per session) and expected.json.
#
#   Rscript reference.R        (in this folder; R 4.2.2, lavaan 0.6.14, jsonlite 1.8.4; some minutes)

suppressMessages({library(lavaan); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")

#: Factors of the items, three to a factor.
named <- function(factors) paste0("item", seq_len(3 * factors))
groups <- function(factors) split(named(factors), rep(paste0("f", seq_len(factors)), each = 3))

# Common parts of so many rows: a general one, which makes factors correlate, and one for each group.
common <- function(rows, factors, general, group) {
  loadings <- rep(c(.9, .7, .8), factors)
  shared <- rnorm(rows)
  own <- matrix(rnorm(rows * factors), rows)[, rep(seq_len(factors), each = 3)]
  sweep(general * shared + group * own, 2, loadings, "*")
}

simulate <- function(seed, clients, factors, smallest, largest, general, group, missing = 0) {
  set.seed(seed)
  sessions <- sample(smallest:largest, clients, replace = TRUE)
  client <- rep(seq_len(clients), sessions)
  items <- 3 * factors
  stable <- common(clients, factors, general[2], group[2]) + matrix(rnorm(clients * items, sd = .4), clients)
  values <- stable[client, ] + common(length(client), factors, general[1], group[1])
  values <- values + matrix(rnorm(length(client) * items, sd = .6), ncol = items)
  values <- round(sweep(values, 2, seq_len(items) / 2, "+"), 3)
  values[runif(length(values)) < missing] <- NA
  data <- data.frame(client, values)
  names(data)[-1] <- named(factors)
  data[rowSums(!is.na(data[-1])) > 0, ]
}

# One level's part of a model; variances of factors are 1.
part <- function(kind, factors) {
  free <- function(name, items) paste0(name, " =~ NA*", paste(items, collapse = " + "), "\n", name, " ~~ 1*", name)
  own <- groups(factors)
  each <- paste(mapply(free, names(own), own), collapse = "\n")
  switch(kind,
    one_factor = free("g", named(factors)),
    correlated_factors = each,
    bifactor = paste(c(free("g", named(factors)), each, outer(c("g", names(own)), c("g", names(own)), function(a, b)
      ifelse(a < b, paste0(a, " ~~ 0*", b), ""))), collapse = "\n")
  )
}

fitted <- function(model, data) {
  fit <- lavaan::lavaan(model, data, cluster = "client", missing = if (anyNA(data)) "ml" else "listwise",
                        information = "observed", auto.var = TRUE, auto.cov.lv.x = TRUE, int.ov.free = TRUE,
                        int.lv.free = FALSE, meanstructure = TRUE, auto.fix.first = FALSE, em.h1.tol = 1e-12,
                        em.h1.iter.max = 20000, control = list(iter.max = 5000, eval.max = 10000))
  stopifnot(lavInspect(fit, "converged"), lavInspect(fit, "post.check"))
  fit
}

indices <- c("logl", "unrestricted.logl", "npar", "chisq", "df", "pvalue", "cfi", "rmsea", "srmr_within", "srmr_between",
             "aic", "bic", "baseline.chisq", "baseline.df", "ntotal")

reference <- function(kind, data, factors) {
  model <- paste0("level: 1\n", part(kind, factors), "\nlevel: 2\n", part(kind, factors))
  fit <- fitted(model, data)
  # Delta method on the inverse of minus the second derivatives of the log-likelihood.
  standardised <- subset(standardizedSolution(fit), op == "=~" | (op == "~~" & lhs != rhs & se > 0),
                         c("lhs", "op", "rhs", "est.std", "se"))
  levels <- rep(c("within", "between"), each = nrow(standardised) / 2)
  list(indices = as.list(fitMeasures(fit, indices)), standardised = cbind(level = levels, standardised))
}

# Two raters of three scores, one factor each at each level, what is unique to a score correlated across raters.
raters <- function(within, between) {
  level <- function(equal) {
    names <- function(rater) paste0(rater, 1:3)
    label <- function(rater) if (equal) paste0("l", 1:3, "*") else ""
    paste0("c =~ NA*c1 + ", paste0(label("c"), names("c"), collapse = " + "), "\n",
           "t =~ NA*t1 + ", paste0(label("t"), names("t"), collapse = " + "), "\n",
           "c ~~ 1*c\nt ~~ ", if (equal) "NA*t" else "1*t", "\nc ~~ t\n",
           paste0("c", 1:3, " ~~ t", 1:3, collapse = "\n"))
  }
  paste0("level: 1\n", level(within), "\nlevel: 2\n", gsub("l([123])\\*", "m\\1*", level(between)))
}

two_raters <- function(seed, clients, missing) {
  set.seed(seed)
  client <- rep(seq_len(clients), sample(4:8, clients, replace = TRUE))
  level <- function(rows, loadings_t, sd) {
    factor <- rnorm(rows)
    other <- .5 * factor + sqrt(.75) * rnorm(rows)
    unique <- matrix(rnorm(rows * 3, sd = .2), rows)
    cbind(outer(factor, c(.8, .9, .7)) + unique, outer(other, loadings_t) + unique) +
      matrix(rnorm(rows * 6, sd = sd), rows)
  }
  values <- level(clients, c(.7, .5, .6), .4)[client, ] + level(length(client), c(.8, .9, .7), .5)
  values <- round(values, 3)
  values[runif(length(values)) < missing] <- NA
  data <- setNames(data.frame(client, values), c("client", paste0("c", 1:3), paste0("t", 1:3)))
  data[rowSums(!is.na(data[-1])) > 0, ]
}

designs <- list(
  two = list(data = simulate(11, 120, 2, 4, 7, c(.7, .7), c(.7, .7)), factors = 2,
             kinds = c("one_factor", "correlated_factors")),
  missing = list(data = simulate(12, 150, 3, 3, 8, c(.7, .8), c(.6, .6), missing = .08), factors = 3,
                 kinds = c("one_factor", "correlated_factors")),
  groups = list(data = simulate(13, 200, 3, 4, 9, c(.8, .9), c(.8, .8)), factors = 3,
                kinds = c("correlated_factors", "bifactor"))
)
expected <- list()
for (name in names(designs)) {
  own <- designs[[name]]
  write.csv(own$data, paste0(name, ".csv"), row.names = FALSE, na = "")
  expected[[name]] <- lapply(setNames(own$kinds, own$kinds), reference, own$data, own$factors)
  cat(name, "\n")
}
data <- two_raters(14, 150, .05)
write.csv(data, "raters.csv", row.names = FALSE, na = "")
equal <- list(free = c(FALSE, FALSE), within = c(TRUE, FALSE), between = c(FALSE, TRUE), both = c(TRUE, TRUE))
expected$raters <- lapply(equal, function(own) {
  as.list(fitMeasures(fitted(raters(own[1], own[2]), data), c("logl", "df", "chisq")))
})
write_json(expected, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
