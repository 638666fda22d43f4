# Reference values for the one-with-many split of two raters' scores and for truth and bias: simulates ratings, fits the
# bivariate three-level model as one long model with dummy-coded raters (nlme), the two-level one also with lavaan, and
# truth and bias with lmerTest; writes <name>.csv (one row per session) and expected.json.
#
#   Rscript reference.R        (in this folder; R 4.2.2, nlme 3.1.162, lavaan 0.6.14, lmerTest 3.1.3, jsonlite 1.8.4)

suppressMessages({library(nlme); library(lavaan); library(lme4); library(lmerTest); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")

pairs_of <- function(n, sds, correlation) {
  first <- rnorm(n)
  second <- correlation * first + sqrt(1 - correlation^2) * rnorm(n)
  cbind(sds[1] * first, sds[2] * second)
}

simulate <- function(seed, therapists, smallest, largest, missing = 0, therapist_sds = c(.35, .5)) {
  set.seed(seed)
  therapist <- rep(seq_len(therapists), sample(3:7, therapists, replace = TRUE))
  sessions <- sample(smallest:largest, length(therapist), replace = TRUE)
  client <- rep(seq_along(therapist), sessions)
  number <- sequence(sessions)
  # Therapists follow their clients from session to session, some of them more closely than others.
  own <- rnorm(length(client), sd = .55)
  follows <- rnorm(length(therapist), .25, .3)
  within <- cbind(own, follows[client] * own + rnorm(length(client), sd = .45))
  values <- within + pairs_of(length(therapist), c(.65, .5), .4)[client, ] +
    pairs_of(therapists, therapist_sds, .5)[therapist[client], ]
  values <- round(values + cbind(5 + .03 * number, 4.4 + .05 * number), 4)
  values[runif(length(values)) < missing] <- NA
  severity <- round(rnorm(length(therapist), 20, 5), 1)
  data <- data.frame(therapist = therapist[client], client, session = number, severity_first = severity[client],
                     alliance_client = values[, 1], alliance_therapist = values[, 2])
  data[rowSums(!is.na(values)) > 0, ]
}

# One row per score; the residuals of the two scores of a session are correlated and differ in spread.
long_of <- function(data) {
  data$row <- seq_len(nrow(data))
  long <- rbind(transform(data, rater = 1L, score = alliance_client), transform(data, rater = 2L, score = alliance_therapist))
  long <- long[!is.na(long$score), ]
  long$c <- as.numeric(long$rater == 1)
  long$t <- as.numeric(long$rater == 2)
  for (name in c("therapist", "client", "row")) long[[name]] <- factor(long[[name]])
  long[order(long$therapist, long$client, long$row, long$rater), ]
}

split_of <- function(data, levels, method) {
  long <- long_of(data)
  random <- lapply(rev(levels), function(level) pdSymm(~ 0 + c + t))
  names(random) <- rev(levels)
  inner <- as.formula(paste("~ rater |", paste(c(rev(levels), "row"), collapse = "/")))
  control <- lmeControl(maxIter = 500, msMaxIter = 500, tolerance = 1e-12, msTol = 1e-14, opt = "nlminb", msMaxEval = 5000,
                        apVar = FALSE)
  fit <- lme(score ~ 0 + c + t, random = random, data = long, method = method, control = control,
             correlation = corSymm(form = inner), weights = varIdent(form = ~ 1 | rater))
  ratio <- coef(fit$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)
  correlation <- as.numeric(coef(fit$modelStruct$corStruct, unconstrained = FALSE))
  sds <- fit$sigma * as.numeric(ratio[c("1", "2")])
  session <- outer(sds, sds) * matrix(c(1, correlation, correlation, 1), 2)
  outer_levels <- lapply(levels, function(level) unname(as.matrix(fit$modelStruct$reStruct[[level]]) * fit$sigma^2))
  list(log_likelihood = as.numeric(logLik(fit)), means = unname(fixef(fit)), std_errors = unname(sqrt(diag(vcov(fit)))),
       covariances = setNames(c(list(session), outer_levels), c("session", levels)))
}

two_level_of <- function(data) {
  model <- "level: 1\n alliance_client ~~ alliance_therapist\nlevel: 2\n alliance_client ~~ alliance_therapist"
  fit <- lavaan::lavaan(model, data, cluster = "client", missing = "ml", auto.var = TRUE, int.ov.free = TRUE,
                        optim.gradient = "analytic", control = list(rel.tol = 1e-10))
  sigma <- lavInspect(fit, "implied")
  list(log_likelihood = as.numeric(logLik(fit)), means = as.numeric(sigma$client$mean + sigma$within$mean),
       covariances = list(session = unname(unclass(sigma$within$cov)), client = unname(unclass(sigma$client$cov))))
}

# Truth and bias: the judge centred on the mean of the truth over therapists (of means over clients), the truth split.
judgement_of <- function(data, judge, truth) {
  data <- data[!is.na(data$alliance_client) & !is.na(data$alliance_therapist), ]
  data$j <- data[[judge]]
  data$x <- data[[truth]]
  client <- ave(data$x, data$client)
  once <- !duplicated(data$client)
  by_therapist <- tapply(client[once], data$therapist[once], mean)
  therapist <- as.numeric(by_therapist[as.character(data$therapist)])
  data$j <- data$j - mean(by_therapist)
  data$within <- data$x - client
  data$between <- client - therapist
  data$above <- therapist - mean(by_therapist)
  data$number <- data$session - mean(data$session)
  data$severity <- data$severity_first - mean(data$severity_first[once])
  data
}

coefficients_of <- function(formula, data) {
  fit <- lmerTest::lmer(formula, data, REML = TRUE,
                        control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5)))
  table <- coef(summary(fit))
  spread <- attr(VarCorr(fit)$client, "stddev")
  list(log_likelihood = as.numeric(logLik(fit)), terms = rownames(table), estimates = unname(table[, "Estimate"]),
       std_errors = unname(table[, "Std. Error"]), df = unname(table[, "df"]), tracking_sd = unname(spread["within"]), singular = isSingular(fit))
}

truth_and_bias_of <- function(data, judge, truth) {
  data <- judgement_of(data, judge, truth)
  list(
    main = coefficients_of(j ~ within + between + above + number + within:number + (1 + within | client) + (1 | therapist), data),
    by_severity = coefficients_of(j ~ within + between + above + number + severity + within:severity +
                                    (1 + within | client) + (1 | therapist), data)
  )
}

data <- list(
  complete = simulate(1, 24, 3, 10),
  missing = simulate(2, 30, 4, 12, missing = .2)
)
expected <- list()
for (name in names(data)) {
  write.csv(data[[name]], paste0(name, ".csv"), row.names = FALSE, na = "")
  expected[[name]] <- list(
    reml = split_of(data[[name]], c("client", "therapist"), "REML"),
    ml = split_of(data[[name]], c("client", "therapist"), "ML"),
    two_level_reml = split_of(data[[name]], "client", "REML"),
    truth_and_bias = list(
      therapist = truth_and_bias_of(data[[name]], "alliance_therapist", "alliance_client"),
      client = truth_and_bias_of(data[[name]], "alliance_client", "alliance_therapist")
    )
  )
  # lavaan's search fails here where scores are missing.
  if (!anyNA(data[[name]])) expected[[name]]$two_level_lavaan <- two_level_of(data[[name]])
}
write_json(expected, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
