# Reference values for tests/parity/test_multilevel_parity.py: simulates the data sets, fits them with lme4 and nlme, and
# writes <design>.csv and expected.json beside this script.
#
#   Rscript reference.R        (R 4.2.2, lme4 1.1-31, nlme 3.1-162, clubSandwich 0.5.8, jsonlite 1.8.4)
#
# bobyqa with a final trust-region radius of 1e-9 puts lme4 some 1e-8 from its maximum; the default nloptwrap stops about
# 1e-4 away, which would be the largest term in every tolerance.

suppressMessages({library(lme4); library(nlme); library(clubSandwich); library(jsonlite)})
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e6), calc.derivs = FALSE,
                     check.scaleX = "ignore", check.conv.singular = "ignore")
set.seed(20261, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")

# One row per session: therapists, clients in therapists, sessions; predictors at every level; six decimals, so that the
# CSV files hold the data exactly.
simulate <- function(clients, sessions, sd_therapist = 0, sd_client = 0.8, sd_slope = c(0, 0), sd_residual = 1) {
  therapist <- rep(seq_along(clients), clients)
  sessions <- rep_len(sessions, length(therapist))
  client <- rep(seq_along(therapist), sessions)
  therapist_of_row <- therapist[client]
  n <- length(client)
  data <- data.frame(therapist = therapist_of_row, client = client,
                     alliance = rnorm(n), progress = rnorm(n),
                     severity_first = rnorm(length(therapist))[client],
                     training = rnorm(length(clients))[therapist_of_row])
  effect <- function(sd, code) sd * rnorm(max(code))[code]
  data$outcome <- 1 - 0.3 * data$alliance + 0.2 * data$progress + 0.5 * data$severity_first - 0.1 * data$training +
    effect(sd_therapist, therapist_of_row) + effect(sd_client, client) +
    effect(sd_slope[1], client) * data$alliance + effect(sd_slope[2], client) * data$progress +
    sd_residual * rnorm(n)
  numbers <- !names(data) %in% c("therapist", "client")
  data[numbers] <- lapply(data[numbers], round, 6)
  data
}

matrix_entries <- function(m) lapply(seq_len(nrow(m)), function(i) unname(m[i, ]))

# Everything that is compared; `groups` are the grouping factors of nlme, outermost first.
reference <- function(name, data, fit, design, call, groups, lme_fit = NULL, file = name) {
  write.csv(data, paste0(file, ".csv"), row.names = FALSE, quote = FALSE)
  components <- as.data.frame(VarCorr(fit))
  out <- list(call = call, data = paste0(file, ".csv"), design = design, terms = names(fixef(fit)), fixef = unname(fixef(fit)),
              vcov = matrix_entries(as.matrix(vcov(fit))), log_likelihood = as.numeric(logLik(fit)),
              components = components[c("grp", "var1", "var2", "vcov")],
              singular = isSingular(fit, tol = 1e-4),
              cr3 = matrix_entries(as.matrix(vcovCR(fit, cluster = data[[groups[1]]], type = "CR3"))))
  # Degrees of freedom depend on the grouping factors alone, so that a random-intercept fit gives them.
  intercepts <- setNames(rep(list(~ 1), length(groups)), groups)
  plain <- if (is.null(lme_fit)) lme(formula(fit, fixed.only = TRUE), data, random = intercepts,
                                     control = lmeControl(opt = "optim", returnObject = TRUE)) else lme_fit
  out$df <- unname(plain$fixDF$X)
  if (!is.null(lme_fit)) out$t_table <- matrix_entries(unname(summary(lme_fit, adjustSigma = FALSE)$tTable))
  out
}

expected <- list()

# 1. Growth on uncentred age, intercept and slope correlated (the shape of nlme's Orthodont data, simulated).
subjects <- 30
growth <- data.frame(client = rep(seq_len(subjects), each = 4), age = rep(c(8, 10, 12, 14), subjects))
growth$female <- as.numeric(growth$client > 16)
slope_of <- 0.25 * rnorm(subjects)
growth$outcome <- round(17 + 0.6 * growth$age - 2 * growth$female + (2 * rnorm(subjects) - 5 * slope_of)[growth$client] +
                          slope_of[growth$client] * growth$age + 1.2 * rnorm(nrow(growth)), 6)
formula_1 <- outcome ~ age + female
expected$correlated_slope <- reference(
  "correlated_slope", growth, lmer(outcome ~ age + female + (1 + age | client), growth, control = tight),
  list(fixed = c("age", "female"), client = "client", slopes = I("age"), reml = TRUE),
  "lmer(outcome ~ age + female + (1 + age | client)); lme(outcome ~ age + female, random = ~ age | client)", "client",
  lme(formula_1, growth, random = ~ age | client, control = lmeControl(opt = "optim", msTol = 1e-12, tolerance = 1e-10)))

# 2. Three levels, random intercepts, REML; and the same data by ML.
fixed <- c("alliance", "progress", "severity_first", "training")
formula_3 <- outcome ~ alliance + progress + severity_first + training
three <- simulate(clients = rep(6, 10), sessions = c(5, 6, 7), sd_therapist = 0.5)
lme_three <- function(method) lme(formula_3, three, random = list(therapist = ~ 1, client = ~ 1), method = method,
                                  control = lmeControl(opt = "optim", msTol = 1e-12, tolerance = 1e-10))
for (method in c("REML", "ML")) {
  name <- c(REML = "three_level", ML = "three_level_ml")[[method]]
  expected[[name]] <- reference(
    name, three,
    lmer(outcome ~ alliance + progress + severity_first + training + (1 | therapist) + (1 | therapist:client), three,
         REML = method == "REML", control = tight),
    list(fixed = fixed, client = "client", therapist = "therapist", slopes = list(), reml = method == "REML"),
    paste0("lmer(... + (1 | therapist) + (1 | therapist:client), REML = ", method == "REML", "); lme(method = \"", method, "\")"),
    c("therapist", "client"), lme_three(method), file = "three_level")
}

# 3. Three levels, uncorrelated slopes; columns far from zero mean, where "uncorrelated" depends on the origin.
slopes <- simulate(clients = rep(5, 12), sessions = c(6, 7), sd_therapist = 0.9, sd_slope = c(0.6, 0.5))
slopes$alliance <- slopes$alliance + 1.5
expected$uncorrelated_slopes <- reference(
  "uncorrelated_slopes", slopes,
  lmer(outcome ~ alliance + progress + severity_first + training + (1 | therapist) +
         (1 + alliance + progress || therapist:client), slopes, control = tight),
  list(fixed = fixed, client = "client", therapist = "therapist", slopes = c("alliance", "progress"), reml = TRUE),
  "lmer(... + (1 | therapist) + (1 + alliance + progress || therapist:client))", c("therapist", "client"))

# 4. Therapist variance on the boundary: the seed is searched so that lme4 puts it at exactly zero.
repeat {
  boundary <- simulate(clients = rep(5, 8), sessions = 5, sd_therapist = 0)
  fit <- lmer(outcome ~ alliance + progress + severity_first + training + (1 | therapist) + (1 | therapist:client),
              boundary, control = tight)
  if (VarCorr(fit)$therapist[1] == 0) break
}
expected$zero_therapist_variance <- reference(
  "zero_therapist_variance", boundary, fit,
  list(fixed = fixed, client = "client", therapist = "therapist", slopes = list(), reml = TRUE),
  "lmer(... + (1 | therapist) + (1 | therapist:client)), therapist variance exactly 0", c("therapist", "client"))

# 5. Unbalanced: therapists with one client, clients with one session.
unbalanced <- simulate(clients = c(1, 1, 1, 2, 3, 5, 8, 13, 1, 4), sessions = c(1, 9, 3, 1, 2, 14, 5), sd_therapist = 0.7)
expected$unbalanced <- reference(
  "unbalanced", unbalanced,
  lmer(outcome ~ alliance + progress + severity_first + training + (1 | therapist) + (1 | therapist:client), unbalanced,
       control = tight),
  list(fixed = fixed, client = "client", therapist = "therapist", slopes = list(), reml = TRUE),
  "lmer(... + (1 | therapist) + (1 | therapist:client))", c("therapist", "client"))

# 6. Early alliance: one row per client, therapist intercept.
early <- simulate(clients = c(4, 9, 12, 7, 5, 15, 8, 10, 6, 11), sessions = 1, sd_therapist = 0.8)
early_formula <- outcome ~ alliance + severity_first + training
expected$early <- reference(
  "early", early, lmer(outcome ~ alliance + severity_first + training + (1 | therapist), early, control = tight),
  list(fixed = c("alliance", "severity_first", "training"), client = "client", therapist = "therapist", slopes = list(),
       reml = TRUE),
  "lmer(outcome ~ alliance + severity_first + training + (1 | therapist)); lme(random = ~ 1 | therapist)", "therapist",
  lme(early_formula, early, random = ~ 1 | therapist, control = lmeControl(opt = "optim", msTol = 1e-12, tolerance = 1e-10)))

# 7. Large offsets: a calendar year among the predictors and an outcome near 10,000.
offsets <- simulate(clients = rep(25, 1), sessions = 6)
offsets$year <- round(2000 + rep(0:5, 25) + rnorm(nrow(offsets)), 6)
offsets$outcome <- offsets$outcome + 10000 + 0.3 * (offsets$year - 2000)
offsets <- offsets[c("client", "alliance", "severity_first", "year", "outcome")]
offset_formula <- outcome ~ alliance + severity_first + year
expected$large_offsets <- reference(
  "large_offsets", offsets, lmer(outcome ~ alliance + severity_first + year + (1 | client), offsets, control = tight),
  list(fixed = c("alliance", "severity_first", "year"), client = "client", slopes = list(), reml = TRUE),
  "lmer(outcome ~ alliance + severity_first + year + (1 | client))", "client")

# 8. Ordinary least squares: one row per client, no therapist level. logLik(lm, REML = TRUE) is the restricted one.
ols <- early[c("client", "alliance", "severity_first", "outcome")]
write.csv(ols, "least_squares.csv", row.names = FALSE, quote = FALSE)
fit <- lm(outcome ~ alliance + severity_first, ols)
expected$least_squares <- list(
  call = "lm(outcome ~ alliance + severity_first)", data = "least_squares.csv",
  design = list(fixed = c("alliance", "severity_first"), client = "client", slopes = list(), reml = TRUE),
  terms = names(coef(fit)), fixef = unname(coef(fit)), vcov = matrix_entries(vcov(fit)),
  log_likelihood = as.numeric(logLik(fit, REML = TRUE)), singular = FALSE,
  components = data.frame(grp = "Residual", var1 = NA, var2 = NA, vcov = summary(fit)$sigma^2),
  cr3 = matrix_entries(as.matrix(vcovCR(fit, cluster = ols$client, type = "CR3"))),
  df = rep(fit$df.residual, 3), t_table = matrix_entries(cbind(summary(fit)$coefficients[, 1:2], fit$df.residual,
                                                                summary(fit)$coefficients[, 3:4])))

# 9. A correlation on the boundary: variances above zero, correlation of -1 or 1.
repeat {
  flat <- simulate(clients = rep(30, 1), sessions = 4, sd_slope = c(0.3, 0))
  fit <- lmer(outcome ~ alliance + severity_first + (1 + alliance | client), flat, control = tight)
  correlation <- attr(VarCorr(fit)$client, "correlation")[1, 2]
  if (is.finite(correlation) && abs(correlation) > 1 - 1e-9 && VarCorr(fit)$client[2, 2] > 0.02) break
}
expected$singular_correlation <- reference(
  "singular_correlation", flat[c("client", "alliance", "severity_first", "outcome")], fit,
  list(fixed = c("alliance", "severity_first"), client = "client", slopes = I("alliance"), reml = TRUE),
  "lmer(outcome ~ alliance + severity_first + (1 + alliance | client)), correlation of 1 or -1", "client")

write_json(expected, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE, null = "null")
