# Reference values for the Bayesian multilevel model: simulates data sets, fits them with brms, and writes <name>.csv
# and <name>.json beside this script; the README says what is in them.
#
#   Rscript reference.R [three_level] [early] [autoregressive]     (in this folder; R 4.2.2, brms 2.18.0, rstan 2.21.7,
#                                                                   posterior 1.4.0, jsonlite 1.8.4)
#
# The model, with predictors x centred at their mean over rows and divided by a scale that is stored with the results:
#   y = b0 + sum b_k x_k + (u0 + sum u_k x_k)_client + v_therapist + e
#   b0 ~ normal(intercept_mean, intercept_sd), b_k ~ normal(0, effect_sd), sd(u0) and sd(v) ~ half-normal(group_sd),
#   sd(u_k) ~ half-normal(slope_sd), cor(u) ~ LKJ(lkj_eta), sd(e) ~ half-normal(residual_sd).
# Autoregressive residuals: cor(e_s, e_t) = phi^|s - t| within clients, phi ~ uniform(-1, 1), and the half-normal prior
# is one of the marginal standard deviation of e. brms has the standard deviation of the innovations among its
# parameters instead: sigma = sd(e) * sqrt(1 - phi^2), seen in the Stan code, where the covariance of the residuals is
# sigma^2 / (1 - phi^2) * phi^|s - t|. `marginal_prior` writes the prior of sd(e) as one of sigma, with its Jacobian.
#
# Priors are tighter than an analyst's would be, and all different: with them a wrong prior is seen in the posterior.

suppressMessages({library(brms); library(posterior); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
# Debian keeps Boost outside R's package BH, where rstan looks for it.
if (!file.exists(rstan::rstan_options("boost_lib"))) rstan::rstan_options(boost_lib = "/usr/include")

chains <- 4
cores <- 2
warmup <- 1000
seed <- 20240
probabilities <- c(q05 = 0.05, q50 = 0.50, q95 = 0.95)

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------

# A covariance matrix from standard deviations and correlations, those in the order of the upper triangle's columns.
covariance <- function(sd, correlations) {
  m <- diag(length(sd))
  m[upper.tri(m)] <- correlations
  m <- m + t(m) - diag(length(sd))
  m * outer(sd, sd)
}

# Effects of units on columns: rows are units, one column per effect.
effects_of <- function(units, covariance) matrix(rnorm(units * nrow(covariance)), units) %*% chol(covariance)

# Splits values into parts within and between units: sums to exactly zero within units also after rounding.
centred_within <- function(values, unit) {
  values <- round(values - ave(values, unit), 6)
  last <- !duplicated(unit, fromLast = TRUE)
  values[last] <- round(values[last] - ave(values, unit, FUN = sum)[last], 6)
  values
}

# Both raters' alliance, correlated between raters.
ratings <- function(rows, sd = c(0.7, 0.9), correlation = 0.4) effects_of(rows, covariance(sd, correlation))

# Sizes of units that vary around their mean: nobody has fewer than `fewest`.
sizes <- function(units, members, fewest)
  fewest + as.vector(rmultinom(1, members - fewest * units, rep(1, units)))

# Sessions in clients in therapists; columns of the session, the client and the therapist level, two with slopes.
simulate_three_level <- function() {
  set.seed(101)
  therapist <- rep(1:20, sizes(20, 200, 4))
  client <- rep(1:200, sizes(200, 2400, 4))
  of_row <- therapist[client]
  rated <- ratings(length(client))
  data <- data.frame(therapist = of_row, client = client, session = sequence(tabulate(client)),
                     alliance_client = centred_within(rated[, 1], client),
                     alliance_therapist = centred_within(rated[, 2], client),
                     severity_first = rnorm(200, 20, 6)[client], training = rnorm(20, 8, 4)[of_row])
  by_client <- effects_of(200, covariance(c(2.5, 1.1, 0.5), c(0.4, -0.3, 0.2)))[client, ]
  data$outcome <- 16 - 1.2 * data$alliance_client - 0.5 * data$alliance_therapist +
    0.25 * (data$severity_first - 20) - 0.1 * (data$training - 8) + rnorm(20)[of_row] +
    rowSums(cbind(1, data$alliance_client, data$alliance_therapist) * by_client) + rnorm(nrow(data), 0, 3)
  data
}

# One row per client: both raters' alliance as difference from the therapist's mean, and that mean.
simulate_early <- function() {
  set.seed(102)
  therapist <- rep(1:18, sizes(18, 180, 4))
  means <- round(effects_of(18, covariance(c(0.4, 0.5), 0.3)) + 5, 6)[therapist, ]
  rated <- ratings(180, c(0.8, 1))
  data <- data.frame(therapist = therapist, client = 1:180,
                     alliance_client = centred_within(rated[, 1], therapist),
                     alliance_therapist = centred_within(rated[, 2], therapist),
                     alliance_client_mean = means[, 1], alliance_therapist_mean = means[, 2])
  data$outcome <- 14 - 1.5 * data$alliance_client - 0.8 * data$alliance_therapist -
    1.5 * (data$alliance_client_mean - 5) + 0.5 * (data$alliance_therapist_mean - 5) + rnorm(18, 0, 1.2)[therapist] +
    rnorm(180, 0, 4)
  data
}

# Sessions in clients, none left out, with autoregressive residuals.
simulate_autoregressive <- function() {
  set.seed(103)
  client <- rep(1:60, each = 10)
  rated <- ratings(600)
  data <- data.frame(client = client, session = rep(1:10, 60), alliance_client = centred_within(rated[, 1], client),
                     alliance_therapist = centred_within(rated[, 2], client))
  by_client <- effects_of(60, covariance(c(2, 1), 0.3))[client, ]
  residual <- as.vector(replicate(60, 3 * t(chol(0.5 ^ abs(outer(1:10, 1:10, "-")))) %*% rnorm(10)))
  data$outcome <- 16 - 1.2 * data$alliance_client - 0.5 * data$alliance_therapist +
    rowSums(cbind(1, data$alliance_client) * by_client) + residual
  data
}

# Writes data with six decimals and reads them back, so that R is given what the file says.
store <- function(name, data) {
  numbers <- vapply(data, is.double, TRUE)
  data[numbers] <- lapply(data[numbers], round, 6)
  file <- paste0(name, ".csv")
  write.csv(data, file, row.names = FALSE, quote = FALSE)
  read.csv(file)
}

# ---------------------------------------------------------------------------------------------------------------------
# Designs
# ---------------------------------------------------------------------------------------------------------------------

# level: the unit whose standard deviation is a column's scale ("row" for columns within units).
# draws: kept draws of each chain.
designs <- list(
  three_level = list(
    simulate = simulate_three_level,
    level = c(alliance_client = "row", alliance_therapist = "row", severity_first = "client", training = "therapist"),
    slopes = c("alliance_client", "alliance_therapist"), groups = c("client", "therapist"), residual = "independent",
    draws = 8000, adapt_delta = 0.98,
    priors = list(intercept_mean = 15, intercept_sd = 1, effect_sd = 1.2, group_sd = 1.5, slope_sd = 0.5,
                  residual_sd = 2, lkj_eta = 2)
  ),
  early = list(
    simulate = simulate_early,
    level = c(alliance_client = "row", alliance_therapist = "row", alliance_client_mean = "therapist",
              alliance_therapist_mean = "therapist"),
    slopes = character(), groups = "therapist", residual = "independent", draws = 20000, adapt_delta = 0.95,
    priors = list(intercept_mean = 13, intercept_sd = 1.5, effect_sd = 1.2, group_sd = 1.8, slope_sd = 0.5,
                  residual_sd = 2.5, lkj_eta = 2)
  ),
  autoregressive = list(
    simulate = simulate_autoregressive, level = c(alliance_client = "row", alliance_therapist = "row"),
    slopes = "alliance_client", groups = "client", residual = "ar1", draws = 8000, adapt_delta = 0.95,
    priors = list(intercept_mean = 15, intercept_sd = 1, effect_sd = 1.2, group_sd = 1.5, slope_sd = 0.6,
                  residual_sd = 2, lkj_eta = 2)
  )
)
# The two effects whose difference is summarised too.
contrast <- c("alliance_client", "alliance_therapist")

# Standard deviations of columns, each over the units of its level.
scales_of <- function(design, data) {
  one <- function(term) {
    level <- design$level[[term]]
    sd(if (level == "row") data[[term]] else data[[term]][!duplicated(data[[level]])])
  }
  vapply(setNames(nm = names(design$level)), one, 0)
}

standardise <- function(data, centres, scales) {
  for (term in names(scales)) data[[term]] <- (data[[term]] - centres[[term]]) / scales[[term]]
  data
}

# ---------------------------------------------------------------------------------------------------------------------
# brms
# ---------------------------------------------------------------------------------------------------------------------

formula_of <- function(design) {
  bars <- c(client = sprintf("(%s | client)", paste(c("1", design$slopes), collapse = " + ")),
            therapist = "(1 | therapist)")
  serial <- if (design$residual == "ar1") "ar(time = session, gr = client, p = 1, cov = TRUE)"
  as.formula(paste("outcome ~", paste(c(names(design$level), bars[design$groups], serial), collapse = " + ")))
}

priors_of <- function(design) {
  values <- design$priors
  normal <- function(mean, sd, ...) set_prior(sprintf("normal(%s, %s)", mean, sd), ...)
  priors <- normal(values$intercept_mean, values$intercept_sd, class = "Intercept") +
    normal(0, values$effect_sd, class = "b")
  for (group in design$groups)
    priors <- priors + normal(0, values$group_sd, class = "sd", group = group, coef = "Intercept")
  for (term in design$slopes)
    priors <- priors + normal(0, values$slope_sd, class = "sd", group = "client", coef = term)
  if (length(design$slopes))
    priors <- priors + set_prior(sprintf("lkj(%s)", values$lkj_eta), class = "cor", group = "client")
  if (design$residual == "ar1") return(priors + set_prior("", class = "sigma"))
  priors + normal(0, values$residual_sd, class = "sigma")
}

# Half-normal prior of the marginal standard deviation, as one of sigma and ar: brms leaves both flat.
marginal_prior <- function(design) {
  if (design$residual != "ar1") return(NULL)
  stanvar(block = "model", scode = sprintf(
    "  target += normal_lpdf(sigma / sqrt(1 - square(ar[1])) | 0, %s) - 0.5 * log1m(square(ar[1]));",
    design$priors$residual_sd
  ))
}

# Compiled first and sampled then, so that each has its own time.
fit_brms <- function(design, data) {
  compiling <- system.time(
    empty <- brm(formula_of(design), data, prior = priors_of(design), stanvars = marginal_prior(design), chains = 0,
                 save_pars = save_pars(group = FALSE), refresh = 0)
  )
  sampling <- system.time(
    fit <- update(empty, recompile = FALSE, chains = chains, cores = cores, warmup = warmup,
                  iter = warmup + design$draws, seed = seed, control = list(adapt_delta = design$adapt_delta),
                  refresh = 0)
  )
  list(fit = fit, seconds = list(compiling = compiling[["elapsed"]], sampling = sampling[["elapsed"]]))
}

# ---------------------------------------------------------------------------------------------------------------------
# Quantities: name, terms, and draws (one column per chain)
# ---------------------------------------------------------------------------------------------------------------------

quantity <- function(name, draws, term = NULL, term_b = NULL)
  list(quantity = name, term = term, term_b = term_b, draws = draws)

quantities_of <- function(design, fit) {
  all <- as_draws_array(fit)
  of <- function(...) as.matrix(extract_variable_matrix(all, paste0(...)))
  terms <- c("Intercept", design$slopes)
  effects <- lapply(names(design$level), function(term) quantity("effect", of("b_", term), term))
  by_client <- if ("client" %in% design$groups)
    lapply(terms, function(term) quantity("client_sd", of("sd_client__", term), term))
  pairs <- if (length(terms) > 1) combn(terms, 2, simplify = FALSE)
  correlations <- lapply(pairs, function(pair)
    quantity("client_correlation", of("cor_client__", pair[1], "__", pair[2]), pair[1], pair[2]))
  by_therapist <- if ("therapist" %in% design$groups)
    list(quantity("therapist_sd", of("sd_therapist__Intercept"), "Intercept"))
  difference <- of("b_", contrast[1]) - of("b_", contrast[2])
  c(list(quantity("intercept", of("b_Intercept"), "Intercept")), effects, by_client, correlations, by_therapist,
    residual_quantities(design, of), list(quantity("contrast", difference, contrast[1], contrast[2])))
}

residual_quantities <- function(design, of) {
  if (design$residual != "ar1") return(list(quantity("residual_sd", of("sigma"))))
  list(quantity("residual_sd", of("sigma") / sqrt(1 - of("ar[1]")^2)),
       quantity("innovation_sd", of("sigma")), quantity("autocorrelation", of("ar[1]")))
}

summarise <- function(quantity) {
  x <- quantity$draws
  quantiles <- setNames(quantile(x, probabilities, names = FALSE), names(probabilities))
  errors <- setNames(mcse_quantile(x, probabilities, names = FALSE), paste0("mcse_", names(probabilities)))
  numbers <- c(mean = mean(x), sd = sd(x), quantiles, mcse_mean = mcse_mean(x), mcse_sd = mcse_sd(x), errors,
               rhat = rhat(x), ess_bulk = ess_bulk(x), ess_tail = ess_tail(x))
  c(quantity[c("quantity", "term", "term_b")], as.list(signif(numbers, 8)))
}

sampler_diagnostics <- function(fit) {
  found <- nuts_params(fit, pars = c("divergent__", "treedepth__", "energy__"))
  of <- function(name) found$Value[found$Parameter == name]
  energy <- split(of("energy__"), found$Chain[found$Parameter == "energy__"])
  list(divergences = sum(of("divergent__")), treedepth_max = max(of("treedepth__")),
       bfmi_min = min(vapply(energy, function(e) mean(diff(e)^2) / var(e), 0)))
}

versions <- function() {
  packages <- c("brms", "rstan", "StanHeaders", "posterior", "jsonlite")
  c(list(R = as.character(getRversion())), lapply(setNames(nm = packages), function(p) as.character(packageVersion(p))))
}

# ---------------------------------------------------------------------------------------------------------------------

reference_of <- function(name) {
  design <- designs[[name]]
  data <- store(name, design$simulate())
  scales <- scales_of(design, data)
  centres <- vapply(data[names(scales)], mean, 0)
  fitted <- fit_brms(design, standardise(data, centres, scales))
  list(
    versions = versions(), data = paste0(name, ".csv"), rows = nrow(data), outcome = "outcome",
    fixed = I(names(design$level)), slopes = I(design$slopes), groups = I(design$groups), residual = design$residual,
    centres = as.list(centres), scales = as.list(scales), priors = design$priors,
    formula = paste(deparse(formula_of(design), width.cutoff = 500), collapse = ""),
    settings = list(chains = chains, warmup = warmup, draws = design$draws, adapt_delta = design$adapt_delta,
                    seed = seed),
    seconds = fitted$seconds, diagnostics = sampler_diagnostics(fitted$fit),
    posterior = lapply(quantities_of(design, fitted$fit), summarise)
  )
}

asked <- commandArgs(trailingOnly = TRUE)
for (name in if (length(asked)) asked else names(designs)) {
  reference <- reference_of(name)
  text <- toJSON(reference, auto_unbox = TRUE, digits = NA, null = "null", pretty = 2)
  writeLines(text, paste0(name, ".json"))
  message(name, ": sampled in ", round(reference$seconds$sampling), " s")
}
