# Reference values for test_kenward_roger.py and test_cluster_robust.py in tests/unit: simulates the data sets, fits them
# with lme4, and writes <design>.csv and expected.json beside this script.
#
#   Rscript reference.R        (R 4.2.2, lme4 1.1-31, pbkrtest 0.5.2, clubSandwich 0.5.8, jsonlite 1.8.4)
#
# The tests take over the variance parameters that are stored here, so that where lme4 stopped is of no account; it is run
# to a tight optimum all the same, because its fixed effects and their covariance matrix are those of its last evaluation.

suppressMessages({library(lme4); library(pbkrtest); library(clubSandwich); library(jsonlite)})
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e6), calc.derivs = FALSE,
                     check.conv.singular = "ignore")
set.seed(20263, kind = "Mersenne-Twister", normal.kind = "Inversion", sample.kind = "Rejection")

# Sessions of clients of therapists, in this order; predictors at every level; six decimals, so that the CSV files hold the
# data exactly. `one_therapist` is 0 but for the sessions of the second therapist.
simulate <- function(clients, sessions, sd_therapist, sd_client, sd_slope = 0, sd_slope_therapist = 0) {
  therapist_of_client <- rep(seq_along(clients), clients)
  client <- rep(seq_along(therapist_of_client), rep_len(sessions, length(therapist_of_client)))
  therapist <- therapist_of_client[client]
  effect <- function(sd, code) sd * rnorm(max(code))[code]
  data <- data.frame(therapist = therapist, client = client, alliance = rnorm(length(client)),
                     progress = rnorm(length(client)) + effect(0.5, client), severity = effect(1, client),
                     training = effect(1, therapist))
  data$one_therapist <- (therapist == 2) * rnorm(length(client))
  data$outcome <- 1 - 0.3 * data$alliance + 0.5 * data$severity + effect(sd_therapist, therapist) + effect(sd_client, client) +
    (effect(sd_slope, client) + effect(sd_slope_therapist, therapist)) * data$alliance + rnorm(length(client))
  numbers <- !names(data) %in% c("therapist", "client")
  data[numbers] <- lapply(data[numbers], round, 6)
  data
}

entries <- function(m) { m <- as.matrix(m); lapply(seq_len(nrow(m)), function(i) I(unname(m[i, ]))) }

# Covariance matrix of a level's effects, relative to the residual variance; `||` makes several diagonal blocks, which
# lme4 calls therapist.client, therapist.client.1, …
relative <- function(fit, level) {
  blocks <- VarCorr(fit)[grepl(paste0("^", level, "(\\.[0-9]+)?$"), names(VarCorr(fit)))]
  stopifnot(length(blocks) > 0)
  entries(as.matrix(Matrix::bdiag(lapply(blocks, function(b) matrix(as.numeric(b), nrow(b)))) / sigma(fit)^2))
}

kenward_roger <- function(fit, singles, joint) {
  adjusted <- vcovAdj(fit)
  approximate <- function(rows) KRmodcomp(fit, rows)$stats[c("ddf", "F.scaling")]
  single <- lapply(seq_len(nrow(singles)), function(i) approximate(singles[i, , drop = FALSE]))
  list(covariance = entries(adjusted), derivatives = lapply(attr(adjusted, "P"), entries),
       parameter_covariance = entries(attr(adjusted, "W")),
       single_df = I(sapply(single, `[[`, "ddf")), single_scaling = I(sapply(single, `[[`, "F.scaling")),
       joint_df = approximate(joint)$ddf, joint_scaling = approximate(joint)$F.scaling)
}

cluster_robust <- function(fit, cluster, kind, singles, joint) {
  covariance <- vcovCR(fit, cluster = cluster, type = kind)
  df <- linear_contrast(fit, covariance, singles, test = "Satterthwaite")$df
  stopifnot(all.equal(df[seq_along(fixef(fit))], coef_test(fit, covariance, test = "Satterthwaite")$df_Satt))
  hotelling <- Wald_test(fit, joint, covariance, test = "HTZ")
  list(covariance = entries(covariance), single_df = I(df), joint_df = hotelling$df_denom, joint_scaling = hotelling$delta,
       joint_statistic = hotelling$Fstat)
}

# Single statements are the coefficients and a difference; the joint one is on two coefficients.
reference <- function(name, call, data, fit, levels, joint, kinds) {
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  p <- length(fixef(fit))
  singles <- rbind(diag(p), c(0, 1, -1, rep(0, p - 3)))
  joint <- diag(p)[joint, ]
  cluster <- data[[rev(levels)[1]]]
  inner <- tryCatch({vcovCR(fit, cluster = data[["client"]], type = "CR2"); NA}, error = conditionMessage)
  robust <- lapply(setNames(kinds, kinds), function(kind) cluster_robust(fit, cluster, kind, singles, joint))
  list(call = call, levels = I(levels), terms = names(fixef(fit))[-1], residual_variance = sigma(fit)^2,
       unit_covariance = relative(fit, names(levels)[1]),
       cluster_covariance = if (length(levels) > 1) relative(fit, names(levels)[2]),
       fixef = unname(fixef(fit)), vcov = entries(vcov(fit)), log_likelihood = as.numeric(logLik(fit)), singles = entries(singles),
       joint = entries(joint), kenward_roger = kenward_roger(fit, singles, joint), robust = robust,
       inner_cluster = inner)
}

all_kinds <- c("CR0", "CR1", "CR2", "CR3")
expected <- list()

# 1. Two levels, intercept and slope correlated, clients with a single session among them.
two <- simulate(rep(1, 24), c(1, 4, 7, 2, 5, 12), sd_therapist = 0, sd_client = 0.9, sd_slope = 0.5)
expected$two_level <- reference(
  "two_level", "lmer(outcome ~ alliance + progress + severity + (1 + alliance | client))", two,
  lmer(outcome ~ alliance + progress + severity + (1 + alliance | client), two, control = tight),
  c(client = "client"), 2:3, all_kinds)

# 2. Three levels, few therapists, slopes at both levels: independent for clients, correlated for therapists.
three <- simulate(c(2, 6, 4, 1, 5, 3, 4), c(3, 8, 5, 1, 6), sd_therapist = 0.6, sd_client = 0.8, sd_slope = 0.5,
                  sd_slope_therapist = 0.4)
expected$three_level <- reference(
  "three_level", paste("lmer(outcome ~ alliance + progress + severity + training +",
                       "(1 + alliance || therapist:client) + (1 + alliance | therapist))"), three,
  lmer(outcome ~ alliance + progress + severity + training + (1 + alliance || therapist:client) + (1 + alliance | therapist),
       three, control = tight),
  c(`therapist[:.]client` = "client", therapist = "therapist"), c(2, 5), all_kinds)

# 3. Therapist variance exactly 0 (the seed is searched), and a coefficient that rests on one therapist, so that CR3
# does not exist and CR2 takes a pseudo-inverse.
repeat {
  boundary <- simulate(c(3, 5, 4, 6, 2, 4), c(4, 6, 2), sd_therapist = 0, sd_client = 0.8)
  fit <- lmer(outcome ~ alliance + severity + training + one_therapist + (1 | therapist) + (1 | therapist:client), boundary,
              control = tight)
  if (VarCorr(fit)$therapist[1] == 0) break
}
expected$boundary <- reference(
  "boundary", "lmer(outcome ~ alliance + severity + training + one_therapist + (1 | therapist) + (1 | therapist:client))",
  boundary, fit, c(`therapist[:.]client` = "client", therapist = "therapist"), 2:3, c("CR0", "CR1", "CR2"))

write_json(expected, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE, null = "null")
