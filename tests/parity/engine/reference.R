# Reference values for the multilevel engine: simulates data sets, fits them with lme4 and nlme, and writes <data>.csv and
# expected.json beside this script.
#
#   Rscript reference.R      (in this folder; R 4.2.2, lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2, clubSandwich 0.5.8,
#                             nlme 3.1-162, numDeriv 2016.8-1.1, jsonlite 1.8.4)
#
# Two parities are meant to be tested. At R's own parameters: `relative_covariance` and, for autoregressive residuals,
# `phi` say where R stopped, and everything else is a plain function of them and of the data. Optimum to optimum: R's
# optimum is sharp, because lme4's optimiser runs to a trust-region radius of 1e-9, twice, and because nlme is started
# from several places with both of its optimisers; `convergence` has the gradient and the Newton step that are left.
#
# Conventions, for all designs:
#   - `log_likelihood` is restricted if `reml`; -2 times it is `criterion`. lme and lmer have the same constants, (rows -
#     coefficients) log(2 pi) and log |X'V^-1 X| included: `constants` has models with independent residuals fitted by
#     both. `bic` takes log(rows), as lme4 does; nlme's own (`bic_nlme`) takes log(rows - coefficients) if REML.
#   - `vcov` does not change with summary.lme's adjustSigma, which concerns ML.
#   - Relative covariances are ratios to the residual variance, with effects in the order in which `random` names them
#     and zeros off the diagonal for `||` terms. `theta` is lme4's, whose order differs (client first, `||` terms turned
#     around).
#   - Standard deviations of random effects are lme4's conditional ones, given beta and theta (condVar = TRUE).
#   - CR2 takes the fitted covariance as working model and target (clubSandwich's default).
#   - Kenward-Roger is defined for REML; there is none for ML. On the boundary pbkrtest keeps the effects, as the engine
#     does; Satterthwaite degrees of freedom are left out there (`inference_left_out` says so). `on_the_boundary` has
#     Kenward-Roger at points of the boundary that are given and are no optimum.
#   - `default_stop` is where lme4 stops with its default optimiser and tolerances, and its warnings there.

suppressMessages({library(lme4); library(nlme); library(clubSandwich); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e6), calc.derivs = FALSE,
                     check.scaleX = "ignore", check.conv.singular = "ignore")

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------

# A covariance matrix from standard deviations and one common correlation.
covariance <- function(sd, correlation = 0) {
  m <- matrix(correlation, length(sd), length(sd))
  diag(m) <- 1
  m * outer(sd, sd)
}

# Effects of units on columns: rows are units, one column per effect.
effects_of <- function(units, covariance) matrix(rnorm(units * nrow(covariance)), units) %*% chol(covariance)

# Residuals with correlation phi ^ |difference in time| within clients, independent between them.
ar1_residuals <- function(client, time, phi, sd = 1) {
  residual <- numeric(length(client))
  for (rows in split(seq_along(client), client)) {
    correlation <- phi ^ abs(outer(time[rows], time[rows], "-"))
    residual[rows] <- sd * t(chol(correlation)) %*% rnorm(length(rows))
  }
  residual
}

# One row per session: therapists, clients in therapists, sessions; predictors at every level. `clients` is the number of
# clients of each therapist, `sessions` (recycled) that of each client. `by_client` and `by_therapist` are covariance
# matrices of random effects of the intercept, alliance and progress (as many of them as the matrix has rows).
# `keep` is the share of sessions that took place; the others leave a gap in `session`.
simulate <- function(clients, sessions, by_client = covariance(0.8), by_therapist = NULL, shift = 0, keep = 1,
                     phi = NULL) {
  therapist <- rep(seq_along(clients), clients)
  client <- rep(seq_along(therapist), rep_len(sessions, length(therapist)))
  session <- sequence(rep_len(sessions, length(therapist)))
  if (keep < 1) {
    held <- session == 1 | runif(length(session)) < keep
    client <- client[held]
    session <- session[held]
  }
  of_row <- therapist[client]
  n <- length(client)
  data <- data.frame(therapist = of_row, client = client, session = session,
                     alliance = shift + rnorm(n), progress = rnorm(n),
                     severity_first = rnorm(length(therapist))[client], training = rnorm(length(clients))[of_row])
  columns <- cbind(1, data$alliance, data$progress)
  random <- function(covariance, code) {
    if (is.null(covariance)) return(0)
    rowSums(columns[, seq_len(nrow(covariance)), drop = FALSE] * effects_of(max(code), covariance)[code, , drop = FALSE])
  }
  data$outcome <- 1 - 0.3 * data$alliance + 0.2 * data$progress + 0.5 * data$severity_first - 0.1 * data$training +
    random(by_therapist, of_row) + random(by_client, client) +
    if (is.null(phi)) rnorm(n) else ar1_residuals(client, session, phi)
  data
}

# Writes data with six decimals and reads them back, so that R is given what the file says.
store <- function(name, data, columns = names(data)) {
  data <- data[columns]
  numbers <- vapply(data, is.double, TRUE)
  data[numbers] <- lapply(data[numbers], round, 6)
  file <- paste0(name, ".csv")
  write.csv(data, file, row.names = FALSE, quote = FALSE)
  structure(read.csv(file, stringsAsFactors = TRUE), file = file)
}

# Splits values into parts within and between units: sums to exactly zero within units also after rounding.
centred_within <- function(values, unit) {
  values <- round(values - ave(values, unit), 6)
  last <- !duplicated(unit, fromLast = TRUE)
  values[last] <- round(values[last] - ave(values, unit, FUN = sum)[last], 6)
  values
}

# ---------------------------------------------------------------------------------------------------------------------
# Designs, in the notation of the Python engine, and the R formula of each
# ---------------------------------------------------------------------------------------------------------------------

# groups: outermost first; random: one formula per level, "||" at its end for independent terms.
design <- function(formula, groups, random, reml = TRUE, residual = "independent", time = NULL, categories = NULL) {
  list(formula = formula, groups = I(groups), random = random[groups], reml = reml, residual = residual, time = time,
       categories = categories)
}

# outcome ~ x, {client: "1 + x ||"}  ->  outcome ~ x + (1 + x || client)
lmer_formula <- function(design) {
  bar <- function(level) {
    terms <- trimws(sub("||", "", design$random[[level]], fixed = TRUE))
    sprintf("(%s %s %s)", terms, if (grepl("||", design$random[[level]], fixed = TRUE)) "||" else "|", level)
  }
  paste(c(design$formula, vapply(design$groups, bar, "")), collapse = " + ")
}

# SexFemale -> Sex[T.Female], age:SexFemale -> age:Sex[T.Female], (Intercept) -> Intercept.
python_terms <- function(terms_r, categories) {
  name <- function(part) {
    for (variable in names(categories)) for (level in categories[[variable]])
      if (part == paste0(variable, level)) return(sprintf("%s[T.%s]", variable, level))
    if (part == "(Intercept)") "Intercept" else part
  }
  vapply(strsplit(terms_r, ":", fixed = TRUE), function(parts) paste(vapply(parts, name, ""), collapse = ":"), "")
}

rows_of <- function(m) lapply(seq_len(nrow(m)), function(i) I(unname(as.numeric(m[i, ]))))
numbers <- function(x) I(unname(as.numeric(x)))
level_of <- function(group) sub("\\.[0-9]+$", "", group)     # "client.1" is a second `||` term of client

# ---------------------------------------------------------------------------------------------------------------------
# lme4
# ---------------------------------------------------------------------------------------------------------------------

# The call is evaluated with data and formula in it, so that update() and lmerTest find them again.
lmer_call <- function(formula, data, reml = TRUE, control = tight, start = NULL)
  do.call(lme4::lmer, list(as.formula(formula), data = data, REML = reml, control = control, start = start))

# Optimised, and once more from there.
fit_lmer <- function(design, data) {
  first <- lmer_call(lmer_formula(design), data, design$reml)
  second <- lmer_call(lmer_formula(design), data, design$reml, start = getME(first, "theta"))
  if (deviance_of(second) < deviance_of(first)) second else first
}
deviance_of <- function(fit) -2 * as.numeric(logLik(fit))

# Whether every relative standard deviation, and every eigenvalue of a correlation matrix, is away from zero.
off_boundary <- function(fit, sd = 0.2, eigenvalue = 0.2) {
  all(vapply(VarCorr(fit), function(v) {
    min(attr(v, "stddev")) > sd * sigma(fit) && min(eigen(attr(v, "correlation"))$values) > eigenvalue
  }, TRUE))
}

# Names of the effects of a level, as `random` writes them: 1 + x || -> (Intercept), x.
effect_names <- function(design, level) {
  terms <- terms(as.formula(paste("~", sub("||", "", design$random[[level]], fixed = TRUE))))
  c(if (attr(terms, "intercept") == 1) "(Intercept)", attr(terms, "term.labels"))
}

# Relative covariance matrix of each level, Lambda Lambda' of its terms: getME(fit, "Tlist") holds the blocks of Lambda.
# lme4 turns the order of `||` terms around (theta_names shows it); here it is that of `random`.
relative_covariance <- function(fit, design) {
  blocks <- getME(fit, "Tlist")
  levels <- level_of(names(fit@cnms))
  sapply(design$groups, function(level) {
    m <- as.matrix(Matrix::bdiag(lapply(blocks[levels == level], tcrossprod)))
    order <- match(effect_names(design, level), unlist(fit@cnms[levels == level]))
    stopifnot(!is.na(order))
    rows_of(m[order, order, drop = FALSE])
  }, simplify = FALSE)
}

# as.data.frame(VarCorr(fit)): variances and covariances with standard deviations and correlations.
components <- function(fit) {
  table <- as.data.frame(VarCorr(fit))
  lapply(seq_len(nrow(table)), function(i) with(table[i, ], list(
    level = level_of(grp), term = if (is.na(var1)) NULL else sub("(Intercept)", "Intercept", var1, fixed = TRUE),
    term2 = if (is.na(var2)) NULL else var2,
    vcov = vcov, sdcor = if (is.finite(sdcor)) sdcor else NULL)))          # no correlation with a zero variance
}

# ranef(fit, condVar = TRUE): the first three units and the last one of each level.
random_effects <- function(fit, design) {
  table <- as.data.frame(ranef(fit, condVar = TRUE))
  sapply(design$groups, function(level) {
    part <- table[table$grpvar == level, ]
    labels <- sort(unique(as.integer(as.character(part$grp))))
    terms <- effect_names(design, level)
    shown <- unique(c(head(labels, 3), tail(labels, 1)))
    value <- function(column) lapply(shown, function(unit) I(vapply(terms, function(term) {
      part[[column]][part$term == term & part$grp == unit]
    }, 0, USE.NAMES = FALSE)))
    list(units = I(shown), terms = I(sub("(Intercept)", "Intercept", terms, fixed = TRUE)),
         estimate = value("condval"), sd = value("condsd"))
  }, simplify = FALSE)
}

# clubSandwich: vcovCR(type = "CR2") and coef_test(test = "Satterthwaite"); linear_contrast() is its coef_test() for rows
# of a matrix. It refuses clusters in which the random effects are not nested (clients, where therapists have effects),
# and the message is stored instead.
cr2 <- function(fit, cluster, singles = diag(length(fixef(fit)))) {
  robust <- tryCatch(vcovCR(fit, cluster = cluster, type = "CR2"), error = identity)
  if (inherits(robust, "error")) return(list(refused = conditionMessage(robust)))
  test <- if (identical(singles, diag(nrow(robust)))) coef_test(fit, vcov = robust, test = "Satterthwaite")$df_Satt
    else linear_contrast(fit, vcov = robust, contrasts = singles, test = "Satterthwaite")$df
  list(vcov = rows_of(singles %*% as.matrix(robust) %*% t(singles)), df = numbers(test))
}

# pbkrtest: vcovAdj(), and for every hypothesis L beta = 0 what KRmodcomp() computes from it.
kenward_roger <- function(fit, hypotheses) {
  adjusted <- pbkrtest::vcovAdj(fit)
  test <- function(L) {
    out <- pbkrtest:::.KR_adjust(adjusted, Phi = vcov(fit), L, beta = fixef(fit), betaH = 0)
    # The same through lmerTest, where the statistic is already scaled; it differentiates the likelihood first, and says
    # so where that is in vain on the boundary.
    other <- suppressWarnings(lmerTest::contest(lmerTest::as_lmerModLmerTest(fit), L, ddf = "Kenward-Roger"))
    stopifnot(all.equal(c(out$ddf, out$Fstat), c(other[["DenDF"]], other[["F value"]]), tolerance = 1e-6))
    list(df_numerator = out$ndf, df = out$ddf, statistic = as.numeric(out$Fstat), scaling = as.numeric(out$F.scaling),
         statistic_unscaled = as.numeric(out$FstatU), p_value = as.numeric(out$p.value))
  }
  c(list(vcov = rows_of(hypotheses$singles %*% as.matrix(adjusted) %*% t(hypotheses$singles))),
    test_all(test, hypotheses))
}

# lmerTest: contest(ddf = "Satterthwaite"), single coefficients and a joint F.
satterthwaite <- function(fit, hypotheses) {
  model <- lmerTest::as_lmerModLmerTest(fit)
  test_all(function(L) {
    out <- lmerTest::contest(model, L, ddf = "Satterthwaite")
    list(df_numerator = out[["NumDF"]], df = out[["DenDF"]], statistic = out[["F value"]], p_value = out[["Pr(>F)"]])
  }, hypotheses)
}

# Tests of every coefficient (`singles` has them in rows), and of two of them jointly.
test_all <- function(test, hypotheses) {
  single <- lapply(seq_len(nrow(hypotheses$singles)), function(i) test(hypotheses$singles[i, , drop = FALSE]))
  entries <- setdiff(names(single[[1]]), "df_numerator")
  c(sapply(entries, function(entry) numbers(vapply(single, `[[`, 0, entry)), simplify = FALSE),
    list(joint = test(hypotheses$joint)))
}
hypotheses_about <- function(terms, joint, map = diag(length(terms))) {
  stopifnot(length(joint) == 2, joint %in% terms)
  list(singles = map, joint = map[match(joint, terms), ])
}

# The same model at the same theta with other columns, from which the coefficients of the given ones are map %*% fixef.
# Where columns differ in scale by many powers of ten, what the packages compute from the given columns is rounding error
# to some extent; from columns of like scales it is not, and the way back is exact.
at_theta_of <- function(fit, design, data) lmer_call(
  lmer_formula(design), data, design$reml, start = getME(fit, "theta"),
  control = lmerControl(optimizer = NULL, calc.derivs = FALSE, check.scaleX = "ignore"))

lme4_reference <- function(design, data, joint, fit, clusters = unique(c(design$groups, "client")), like_scales = NULL) {
  terms <- names(fixef(fit))                                                            # R's names, lme4's order
  singular <- isSingular(fit, tol = 1e-4)
  default <- suppressMessages(suppressWarnings(lmer_call(                               # where lme4 stops by default
    lmer_formula(design), data, design$reml, control = lmerControl(check.scaleX = "ignore"))))
  map <- if (is.null(like_scales)) diag(length(terms)) else like_scales$map
  given <- if (is.null(like_scales)) fit else at_theta_of(fit, design, data)
  stopifnot(getME(fit, "theta") == getME(given, "theta"))
  criterion <- deviance_of(fit) - if (design$reml) 2 * log(abs(det(map))) else 0        # log |X'V^-1 X| of given columns
  n_parameters <- attr(logLik(fit), "df")
  out <- list(
    call = sprintf("lmer(%s, REML = %s, control = tight)", lmer_formula(design), design$reml),
    engine = "lme4", data = attr(data, "file"), rows = nrow(data), design = design,
    terms = I(python_terms(terms, design$categories)), terms_r = I(terms),
    theta = numbers(getME(fit, "theta")),                                               # relative Cholesky factors
    theta_names = I(names(getME(fit, "theta"))),
    relative_covariance = relative_covariance(fit, design),
    sigma = sigma(fit), criterion = criterion, log_likelihood = -criterion / 2,         # logLik(fit)
    n_parameters = n_parameters, aic = criterion + 2 * n_parameters,                    # AIC(fit)
    bic = criterion + log(nrow(data)) * n_parameters,                                   # BIC(fit)
    fixef = numbers(map %*% fixef(fit)), vcov = rows_of(map %*% as.matrix(vcov(fit)) %*% t(map)),
    components = components(fit), singular = singular,
    random_effects = random_effects(fit, design), fitted = numbers(head(fitted(fit), 5)),
    cr2 = sapply(clusters, function(level) cr2(fit, data[[level]], map), simplify = FALSE),
    default_stop = list(optimizer = default@optinfo$optimizer, theta = numbers(getME(default, "theta")),
                        criterion = deviance_of(default), excess = deviance_of(default) - deviance_of(given),
                        warnings = I(as.character(unlist(default@optinfo$conv$lme4$messages)))))
  stopifnot(all.equal(c(out$aic, out$bic, out$criterion), c(AIC(given), BIC(given), deviance_of(given)),
                      tolerance = 1e-10),
            all.equal(as.numeric(out$fixef), unname(fixef(given)), tolerance = 1e-7))
  if (!is.null(like_scales)) out$from_given_columns <- list(                            # R with its rounding errors
    criterion = deviance_of(given), fixef = numbers(fixef(given)), vcov = rows_of(as.matrix(vcov(given))),
    cr2 = sapply(clusters, function(level) cr2(given, data[[level]]), simplify = FALSE))
  about <- hypotheses_about(terms, joint, map)
  c(out, list(joint_terms = I(python_terms(joint, design$categories))),
    if (singular) list(inference_left_out = "Satterthwaite: the optimum is on the boundary")
      else list(satterthwaite = satterthwaite(fit, about)),
    list(kenward_roger = if (design$reml) kenward_roger(fit, about)))
}

# ---------------------------------------------------------------------------------------------------------------------
# nlme: autoregressive residuals
# ---------------------------------------------------------------------------------------------------------------------

# The model once more, coded from its definition with whole covariance matrices: an independent check of nlme, and the
# only source of Satterthwaite degrees of freedom where residuals are autoregressive (lmerTest has none). `variance` is
# V / sigma^2 at parameters (relative Cholesky factors by level, phi); the value has the constants of lmer.
whole_matrix_model <- function(design, data) {
  X <- model.matrix(as.formula(design$formula), data)
  random <- lapply(rev(design$groups), function(level) {            # innermost first, as in lme4's theta
    list(same = outer(data[[level]], data[[level]], "=="),
         Z = model.matrix(as.formula(paste("~", design$random[[level]])), data))
  })
  n_factor <- vapply(random, function(part) ncol(part$Z) * (ncol(part$Z) + 1) / 2, 0)
  gap <- abs(outer(data[[design$time]], data[[design$time]], "-"))
  same_client <- outer(data$client, data$client, "==")
  variance <- function(parameters) {
    V <- ifelse(same_client, parameters[sum(n_factor) + 1] ^ gap, 0)
    for (k in seq_along(random)) with(random[[k]], {
      block <- matrix(0, ncol(Z), ncol(Z))
      block[lower.tri(block, diag = TRUE)] <- parameters[sum(n_factor[seq_len(k - 1)]) + seq_len(n_factor[k])]
      V <<- V + same * (Z %*% tcrossprod(block) %*% t(Z))
    })
    V
  }
  gls <- function(parameters) {
    root <- chol(variance(parameters))
    Xs <- backsolve(root, X, transpose = TRUE)
    ys <- backsolve(root, data$outcome, transpose = TRUE)
    beta <- solve(crossprod(Xs), crossprod(Xs, ys))
    list(beta = drop(beta), rss = sum((ys - Xs %*% beta)^2), unscaled = solve(crossprod(Xs)),
         log_det_V = 2 * sum(log(diag(root))), log_det_X = as.numeric(determinant(crossprod(Xs))$modulus))
  }
  deviance <- function(parameters, sigma) {                        # restricted
    fit <- gls(parameters)
    df <- nrow(X) - ncol(X)
    df * log(2 * pi * sigma^2) + fit$log_det_V + fit$log_det_X + fit$rss / sigma^2
  }
  list(X = X, gls = gls, deviance = deviance,
       sigma = function(parameters) sqrt(gls(parameters)$rss / (nrow(X) - ncol(X))))
}

# Satterthwaite from the observed information about (theta, phi, sigma), as lmerTest does from (theta, sigma): second
# derivatives of the restricted deviance and first derivatives of vcov(beta), numerical.
whole_matrix_satterthwaite <- function(model, parameters, hypotheses) {
  at <- c(parameters, model$sigma(parameters))
  m <- length(parameters)
  p <- ncol(model$X)
  information <- numDeriv::hessian(function(v) model$deviance(v[seq_len(m)], v[m + 1]), at)
  slopes <- numDeriv::jacobian(function(v) as.numeric(v[m + 1]^2 * model$gls(v[seq_len(m)])$unscaled), at)
  spread <- 2 * solve(information)
  fit <- model$gls(parameters)
  vcov_beta <- tail(at, 1)^2 * fit$unscaled
  one <- function(l) {
    gradient <- apply(slopes, 2, function(column) l %*% matrix(column, p) %*% l)
    2 * (l %*% vcov_beta %*% l)^2 / (gradient %*% spread %*% gradient)
  }
  test_all(function(L) {
    root <- eigen(L %*% vcov_beta %*% t(L))                        # independent contrasts, as in lmerTest::contestMD
    rotated <- t(root$vectors) %*% L
    df <- apply(rotated, 1, one)
    statistic <- mean(drop(rotated %*% fit$beta)^2 / root$values)
    df <- if (nrow(L) == 1) df else {
      expected <- sum(df / (df - 2))
      stopifnot(df > 2)
      2 * expected / (expected - nrow(L))
    }
    list(df_numerator = nrow(L), df = df, statistic = statistic,
         p_value = pf(statistic, nrow(L), df, lower.tail = FALSE))
  }, hypotheses)
}

# Every start and both optimisers; the best log-likelihood is kept. nlme sometimes stops with an error on the way.
fit_lme <- function(design, data, correlation, starts) {
  form <- as.formula(paste("~", design$time, "|", paste(design$groups, collapse = "/")))
  random <- sapply(design$groups, function(level) as.formula(paste("~", design$random[[level]])), simplify = FALSE)
  attempts <- expand.grid(opt = c("nlminb", "optim"), start = starts, stringsAsFactors = FALSE)
  fits <- Map(function(opt, start) tryCatch(
    do.call(lme, list(as.formula(design$formula), data, random = random, method = "REML",
                      correlation = correlation(start, form = form),
                      control = lmeControl(opt = opt, msTol = 1e-14, tolerance = 1e-12, maxIter = 500, msMaxIter = 1000,
                                           msMaxEval = 10000, niterEM = 100))),
    error = function(e) NULL), attempts$opt, attempts$start)
  values <- vapply(fits, function(fit) if (is.null(fit)) NA_real_ else as.numeric(logLik(fit)), 0)
  list(best = fits[[which.max(values)]],
       attempts = lapply(unname(which(!is.na(values))), function(i) {
         list(optimizer = attempts$opt[i], start = attempts$start[i], log_likelihood = values[[i]])
       }))
}

nlme_reference <- function(design, data, joint, correlation, starts, call) {
  fitted_model <- fit_lme(design, data, correlation, starts)
  fit <- fitted_model$best
  phi <- as.numeric(coef(fit$modelStruct$corStruct, unconstrained = FALSE))
  relative <- lapply(fit$modelStruct$reStruct, as.matrix)                                # innermost first
  theta <- unlist(lapply(relative, function(m) t(chol(m))[lower.tri(m, diag = TRUE)]), use.names = FALSE)
  terms <- names(fixef(fit))
  likelihood <- logLik(fit)                                                              # restricted

  # nlme against the definition: value, estimates and covariance at nlme's parameters, and the slope of the likelihood.
  model <- whole_matrix_model(design, data)
  parameters <- c(theta, phi)
  check <- model$gls(parameters)
  restricted <- function(v) -model$deviance(v, model$sigma(v)) / 2
  gradient <- numDeriv::grad(restricted, parameters)
  stopifnot(abs(restricted(parameters) - as.numeric(likelihood)) < 1e-8,
            all.equal(unname(check$beta), unname(fixef(fit)), tolerance = 1e-8),
            all.equal(unname(model$sigma(parameters)^2 * check$unscaled), unname(fit$varFix), tolerance = 1e-8))
  newton <- drop(solve(numDeriv::hessian(restricted, parameters), gradient))             # what is left to go

  entries <- do.call(c, lapply(names(relative), function(level) {
    m <- relative[[level]] * fit$sigma^2
    name <- sub("(Intercept)", "Intercept", rownames(m), fixed = TRUE)
    pairs <- which(lower.tri(m, diag = TRUE), arr.ind = TRUE)
    lapply(seq_len(nrow(pairs)), function(k) {
      i <- pairs[k, 1]; j <- pairs[k, 2]
      list(level = level, term = name[j], term2 = if (i == j) NULL else name[i], vcov = m[i, j],
           sdcor = if (i == j) sqrt(m[i, i]) else m[i, j] / sqrt(m[i, i] * m[j, j]))
    })
  }))
  list(
    call = call, engine = "nlme", data = attr(data, "file"), rows = nrow(data), design = design,
    terms = I(python_terms(terms, design$categories)), terms_r = I(terms),
    phi = phi,                                       # coef(fit$modelStruct$corStruct, unconstrained = FALSE)
    relative_covariance = sapply(design$groups, function(level) rows_of(relative[[level]]), simplify = FALSE),
    sigma = fit$sigma, criterion = -2 * as.numeric(likelihood), log_likelihood = as.numeric(likelihood),
    n_parameters = attr(likelihood, "df"), aic = AIC(fit), bic_nlme = BIC(fit),          # log(rows - coefficients)
    bic = deviance_of(fit) + log(nrow(data)) * attr(likelihood, "df"),                   # as lme4 would
    fixef = numbers(fixef(fit)), vcov = rows_of(fit$varFix),  # summary(fit, adjustSigma = FALSE): no change by REML
    components = c(entries, list(list(level = "Residual", term = NULL, term2 = NULL, vcov = fit$sigma^2,
                                      sdcor = fit$sigma))),
    random_effects = sapply(design$groups, function(level) {                             # ranef(fit, level)
      table <- ranef(fit, level = match(level, design$groups))
      labels <- as.integer(sub(".*/", "", rownames(table)))
      shown <- unique(c(head(sort(labels), 3), max(labels)))
      list(units = I(shown), terms = I(sub("(Intercept)", "Intercept", names(table), fixed = TRUE)),
           estimate = rows_of(as.matrix(table)[match(shown, labels), , drop = FALSE]))
    }, simplify = FALSE),
    fitted = numbers(head(fitted(fit), 5)),                                              # with all random effects
    singular = FALSE,
    cr2 = sapply(design$groups[1], function(level) cr2(fit, data[[level]]), simplify = FALSE),
    joint_terms = I(joint),
    satterthwaite = whole_matrix_satterthwaite(model, parameters, hypotheses_about(terms, joint)),
    convergence = list(parameters = "relative Cholesky factors, innermost level first, then phi",
                       values = numbers(parameters), gradient = numbers(gradient), newton_step = numbers(newton),
                       attempts = fitted_model$attempts))
}

# ---------------------------------------------------------------------------------------------------------------------
# R-squared
# ---------------------------------------------------------------------------------------------------------------------

# The measures of Rights & Sterba (2019, 10.1037/met0000184), coded independently from the published formulas with the
# conventions of the R package r2mlm: var() over rows, with rows - 1; predictors that vary within units are centred at
# the units' means. Sources: f, fixed slopes of predictors of a level; v, variation of slopes of predictors of level 1
# over units of a level; m, variation of intercepts over units of a level.
# `predictors` lists the columns of level 1, client and therapist; of the latter two, therapist is left out in two levels.
r_squared <- function(fit, design, predictors) {
  X <- getME(fit, "X")
  beta <- fixef(fit)
  fixed <- lapply(predictors, function(names) drop(beta[names] %*% var(X[, names, drop = FALSE]) %*% beta[names]))
  random <- sapply(rev(design$groups), function(level) {
    Tau <- VarCorr(fit)[[level]]
    Z <- model.matrix(as.formula(paste("~", design$random[[level]])), model.frame(fit))
    means <- colMeans(Z)
    list(slopes = sum(diag(Tau %*% var(Z))), intercepts = drop(means %*% Tau %*% means))
  }, simplify = FALSE)
  sources <- c(list(fixed_within = fixed$within),
               setNames(fixed[-1], paste0("fixed_", names(fixed)[-1])),
               setNames(lapply(random, `[[`, "slopes"), paste0("slopes_", names(random))),
               setNames(lapply(random, `[[`, "intercepts"), paste0("intercepts_", names(random))),
               list(residual = sigma(fit)^2))
  level_of_source <- sub(".*_", "", names(sources))
  level_of_source[grepl("^slopes_|^residual", names(sources))] <- "within"
  total <- sum(unlist(sources))
  shares <- function(names) lapply(sources[names], function(value) value / sum(unlist(sources[names])))
  list(source = "Rights & Sterba (2019), 10.1037/met0000184; three levels: as function r2mlm3_manual of package r2mlm",
       predictors = lapply(predictors, I),
       variances = sources, total_variance = total,
       total = c(shares(names(sources)),
                 list(f = sum(unlist(sources[grepl("^fixed_", names(sources))])) / total,
                      fv = sum(unlist(sources[grepl("^(fixed|slopes)_", names(sources))])) / total,
                      fvm = 1 - sources$residual / total)),
       by_level = sapply(unique(level_of_source), function(level) {
         shares(names(sources)[level_of_source == level])
       }, simplify = FALSE))
}

# ---------------------------------------------------------------------------------------------------------------------
# Designs for lme4
# ---------------------------------------------------------------------------------------------------------------------

# Draws data until they are as wanted.
search <- function(draw, wanted) {
  for (attempt in 1:200) {
    found <- draw()
    if (wanted(found)) return(found)
  }
  stop("no such data in 200 draws")
}

three_columns <- c("therapist", "client", "alliance", "progress", "severity_first", "training", "outcome")
fixed_all <- "outcome ~ alliance + progress + severity_first + training"
nested <- c("therapist", "client")
fits <- list()
tables <- list()
expected <- list()
add <- function(name, data, design, joint, ..., like_scales = NULL) {
  tables[[name]] <<- data
  fits[[name]] <<- fit_lmer(design, if (is.null(like_scales)) data else like_scales$data)
  expected[[name]] <<- lme4_reference(design, data, joint, fits[[name]], ..., like_scales = like_scales)
  cat(sprintf("%-28s %3d rows, criterion %.6f, singular %s, default stops %.2e above\n", name, nrow(data),
              expected[[name]]$criterion, expected[[name]]$singular, expected[[name]]$default_stop$excess))
}
# Data for a design whose optimum is clearly off the boundary, or is as `wanted` says.
draw_for <- function(name, design, draw, columns, wanted = off_boundary)
  search(function() store(name, draw(), columns), function(data) wanted(fit_lmer(design, data)))

# 1, 2. Balanced, three levels, random intercepts; REML, and the same data by ML.
set.seed(20300)
balanced <- draw_for("balanced", design(fixed_all, nested, list(therapist = "1", client = "1")),
                     function() simulate(rep(5, 10), 5, by_therapist = covariance(0.6)), three_columns)
add("balanced_reml", balanced, design(fixed_all, nested, list(therapist = "1", client = "1")),
    c("severity_first", "training"))
add("balanced_ml", balanced, design(fixed_all, nested, list(therapist = "1", client = "1"), reml = FALSE),
    c("severity_first", "training"))

# 3. Unbalanced: therapists with one client, clients with one session; rows in no order.
set.seed(20301)
d <- design(fixed_all, nested, list(therapist = "1", client = "1"))
unbalanced <- draw_for("unbalanced", d, function() {
  rows <- simulate(c(1, 1, 1, 2, 3, 5, 8, 13, 1, 4), c(1, 9, 3, 1, 2, 11, 5), by_therapist = covariance(0.7))
  rows[sample(nrow(rows)), ]
}, three_columns)
add("unbalanced", unbalanced, d, c("alliance", "training"))

# 4. Client slopes of a predictor that varies within clients, correlated with the intercepts; therapist intercepts. Some
# clients have fewer sessions than random effects.
set.seed(20302)
d <- design(fixed_all, nested, list(therapist = "1", client = "1 + alliance"))
slope <- draw_for("client_slope", d, function() {
  simulate(rep(4, 9), c(1, 6, 9, 2, 8, 7, 5), covariance(c(0.9, 0.6), 0.4), covariance(0.7))
}, three_columns)
add("client_slope", slope, d, c("alliance", "severity_first"))

# 5. Independent client effects, of a column far from zero mean among others: "independent" depends on the origin.
set.seed(20303)
d <- design(fixed_all, nested, list(therapist = "1", client = "1 + alliance + progress ||"))
uncorrelated <- draw_for("uncorrelated_slopes", d, function() {
  simulate(rep(4, 10), c(7, 8), diag(c(1.2, 0.6, 0.7)^2), covariance(0.8), shift = 4)
}, three_columns)
add("uncorrelated_slopes", uncorrelated, d, c("alliance", "progress"))

# 6. Slopes at both levels.
set.seed(20304)
d <- design(fixed_all, nested, list(therapist = "1 + alliance", client = "1 + alliance"))
both <- draw_for("slopes_at_both_levels", d, function() {
  simulate(rep(4, 14), c(6, 7), covariance(c(0.9, 0.6), -0.3), covariance(c(0.8, 0.6), 0.3))
}, three_columns)
add("slopes_at_both_levels", both, d, c("alliance", "training"))

# 7. Growth on uncentred age, intercept and slope correlated: the shape of nlme's Orthodont data, simulated.
set.seed(20305)
d <- design("outcome ~ age + female", "client", list(client = "1 + age"))
growth <- draw_for("growth", d, function() {
  rows <- data.frame(client = rep(1:30, each = 4), age = rep(c(8, 10, 12, 14), 30))
  rows$female <- as.integer(rows$client > 16)
  at_age_11 <- effects_of(30, covariance(c(1.6, 0.4), 0.3))[rows$client, ]
  rows$outcome <- 17 + 0.6 * rows$age - 2 * rows$female + at_age_11[, 1] + at_age_11[, 2] * (rows$age - 11) +
    1.2 * rnorm(nrow(rows))
  rows
}, c("client", "age", "female", "outcome"), function(fit) {
  off_boundary(fit, eigenvalue = 0.02) && attr(VarCorr(fit)$client, "stddev")[2] > 0.25
})
add("growth", growth, d, c("age", "female"))

# 8. Two levels, three correlated effects; clients are also clustered by a therapist that is not in the model.
set.seed(20306)
d <- design("outcome ~ alliance + progress + severity_first", "client", list(client = "1 + alliance + progress"))
three_effects <- draw_for("three_effects", d, function() {
  simulate(rep(4, 11), c(7, 8), covariance(c(0.9, 0.6, 0.7), 0.2), covariance(0.5))
}, setdiff(three_columns, "training"))
add("three_effects", three_effects, d, c("alliance", "progress"), clusters = c("client", "therapist"))

# 9. Early alliance: one row per client, therapist intercepts.
set.seed(20307)
d <- design("outcome ~ alliance + severity_first + training", "therapist", list(therapist = "1"))
early <- draw_for("early", d, function() {
  simulate(c(4, 9, 12, 1, 7, 5, 15, 8, 10, 6, 11), 1, by_therapist = covariance(0.8))
}, setdiff(three_columns, "progress"))
add("early", early, d, c("alliance", "severity_first"))

# 10. Therapist variance at exactly zero.
set.seed(20308)
d <- design(fixed_all, nested, list(therapist = "1", client = "1"))
zero <- draw_for("zero_therapist_variance", d, function() simulate(rep(4, 8), 4), three_columns,
                 function(fit) VarCorr(fit)$therapist[1] == 0)
add("zero_therapist_variance", zero, d, c("alliance", "training"))

# 11. A correlation of 1 or -1 between effects that do vary.
set.seed(20309)
d <- design("outcome ~ alliance + severity_first", "client", list(client = "1 + alliance"))
boundary <- draw_for("boundary_correlation", d, function() simulate(30, 4, covariance(c(0.8, 0.3))),
                     c("client", "alliance", "severity_first", "outcome"), function(fit) {
  correlation <- attr(VarCorr(fit)$client, "correlation")[1, 2]
  is.finite(correlation) && abs(correlation) > 1 - 1e-9 && VarCorr(fit)$client[2, 2] > 0.02
})
add("boundary_correlation", boundary, d, c("alliance", "severity_first"))

# 12. Six therapists, and a predictor of theirs.
set.seed(20310)
d <- design(fixed_all, nested, list(therapist = "1", client = "1"))
few <- draw_for("few_therapists", d, function() {
  simulate(c(4, 5, 3, 6, 4, 5), c(4, 5, 6), by_therapist = covariance(0.7))
}, three_columns)
add("few_therapists", few, d, c("severity_first", "training"))

# 13. Offsets and scales: a calendar year, a column in millionths and one in thousands of what it might be, an outcome
# near 10,000.
set.seed(20311)
d <- design("outcome ~ alliance + year + platelets + dose", nested, list(therapist = "1", client = "1"))
scales <- draw_for("offsets_and_scales", d, function() {
  rows <- simulate(rep(4, 8), c(4, 5), by_therapist = covariance(0.7))
  rows$year <- 2000 + rows$session + rnorm(nrow(rows))
  rows$platelets <- 1e6 * rows$progress
  rows$dose <- 0.001 * rnorm(nrow(rows))
  rows$outcome <- 10000 + rows$outcome + 0.3 * (rows$year - 2000) + 400 * rows$dose
  rows
}, c("therapist", "client", "alliance", "year", "platelets", "dose", "outcome"))
# The same with columns of like scales: a coefficient of a column (x - origin) / unit is that of x times unit.
origin <- c(year = 2003, platelets = 0, dose = 0)
unit <- c(year = 1, platelets = 1e6, dose = 0.001)
like <- scales
for (x in names(unit)) like[[x]] <- (scales[[x]] - origin[[x]]) / unit[[x]]
map <- diag(c(1, 1, 1 / unit))
map[1, 3:5] <- -origin / unit
add("offsets_and_scales", scales, d, c("alliance", "year"), like_scales = list(data = like, map = map))

# 14. Factors with treatment coding, an interaction, and terms that are not written in the order of their degree. Male is
# the first category of Sex although Female comes first in the alphabet; those of arm are in alphabetical order.
set.seed(20312)
categories <- list(Sex = c("Male", "Female"), arm = c("analytic", "behavioural", "control", "dialectical"))
d <- design("outcome ~ age:Sex + arm + age + Sex", "client", list(client = "1"), categories = categories)
with_factors <- function(name, rows) {
  rows <- store(name, rows)
  for (variable in names(categories)) rows[[variable]] <- factor(as.character(rows[[variable]]), categories[[variable]])
  rows
}
factors <- search(function() {
  rows <- data.frame(client = rep(1:40, each = 4), age = rep(c(8, 10, 12, 14), 40))
  rows$Sex <- sample(categories$Sex, 40, replace = TRUE)[rows$client]
  rows$arm <- sample(categories$arm, 40, replace = TRUE)[rows$client]
  rows$outcome <- 17 + 0.6 * rows$age - (rows$Sex == "Female") * (0.2 * rows$age - 1) + (rows$arm == "control") +
    1.5 * rnorm(40)[rows$client] + rnorm(nrow(rows))
  with_factors("factors", rows)
}, function(data) off_boundary(fit_lmer(d, data)))
add("factors", factors, d, c("age", "age:SexFemale"))

# R-squared of three models: predictors of level 1 are centred at the clients' means, those of clients at the therapists'.
# A. Two levels, correlated slope, a product of a predictor of level 1 with one of level 2 (which is of level 1).
set.seed(20313)
d <- design("outcome ~ alliance_within + alliance_between + severity_first + alliance_within:severity_first", "client",
            list(client = "1 + alliance_within"))
one_slope <- draw_for("r2_one_slope", d, function() {
  rows <- simulate(rep(4, 10), c(4, 6, 7), covariance(c(0.8, 0.6), 0.3))
  rows$alliance_within <- centred_within(rows$alliance, rows$client)
  rows$alliance_between <- ave(rows$alliance, rows$client)
  rows$outcome <- rows$outcome + 0.2 * rows$alliance_within * rows$severity_first - 0.3 * rows$alliance_between
  rows
}, c("client", "alliance_within", "alliance_between", "severity_first", "outcome"))
add("r2_one_slope", one_slope, d, c("alliance_within", "alliance_between"))
expected$r2_one_slope$r_squared <- r_squared(fits$r2_one_slope, d, list(
  within = c("alliance_within", "alliance_within:severity_first"), client = c("alliance_between", "severity_first")))

# B. Two levels, three correlated effects.
set.seed(20314)
d <- design("outcome ~ alliance_within + progress_within + alliance_between + severity_first", "client",
            list(client = "1 + alliance_within + progress_within"))
two_slopes <- draw_for("r2_two_slopes", d, function() {
  rows <- simulate(rep(4, 10), c(6, 7), covariance(c(0.8, 0.6, 0.7), 0.2))
  rows$alliance_within <- centred_within(rows$alliance, rows$client)
  rows$progress_within <- centred_within(rows$progress, rows$client)
  rows$alliance_between <- ave(rows$alliance, rows$client)
  rows
}, c("client", "alliance_within", "progress_within", "alliance_between", "severity_first", "outcome"))
add("r2_two_slopes", two_slopes, d, c("alliance_within", "progress_within"))
expected$r2_two_slopes$r_squared <- r_squared(fits$r2_two_slopes, d, list(
  within = c("alliance_within", "progress_within"), client = c("alliance_between", "severity_first")))

# C. Three levels, slopes over clients and over therapists. Balanced, so that clients' means centred at their therapist's
# mean of clients are centred over rows too.
set.seed(20315)
d <- design("outcome ~ alliance_within + alliance_client + alliance_therapist", nested,
            list(therapist = "1 + alliance_within", client = "1 + alliance_within"))
three_levels <- draw_for("r2_three_levels", d, function() {
  rows <- simulate(rep(4, 12), 5, covariance(c(0.8, 0.6), 0.3), covariance(c(0.8, 0.6), -0.3))
  of_client <- rows[!duplicated(rows$client), ]
  of_client$mean <- tapply(rows$alliance, rows$client, mean)
  rows$alliance_within <- centred_within(rows$alliance, rows$client)
  rows$alliance_client <- centred_within(of_client$mean, of_client$therapist)[rows$client]
  rows$alliance_therapist <- ave(of_client$mean, of_client$therapist)[rows$client]
  rows
}, c("therapist", "client", "alliance_within", "alliance_client", "alliance_therapist", "outcome"))
add("r2_three_levels", three_levels, d, c("alliance_within", "alliance_client"))
expected$r2_three_levels$r_squared <- r_squared(fits$r2_three_levels, d, list(
  within = "alliance_within", client = "alliance_client", therapist = "alliance_therapist"))

# ---------------------------------------------------------------------------------------------------------------------
# Designs for nlme: residuals correlated phi ^ gap within clients
# ---------------------------------------------------------------------------------------------------------------------

add_lme <- function(name, data, design, joint, correlation, starts) {
  random <- paste0(design$groups, " = ~ ", unlist(design$random), collapse = ", ")
  call <- sprintf("lme(%s, random = list(%s), correlation = %s(form = ~ %s | %s), method = \"REML\")", design$formula,
                  random, if (identical(correlation, corCAR1)) "corCAR1" else "corAR1", design$time,
                  paste(design$groups, collapse = "/"))
  expected[[name]] <<- nlme_reference(design, data, joint, correlation, starts, call)
  with(expected[[name]], cat(sprintf("%-28s %3d rows, criterion %.6f, phi %.5f, gradient %.0e, step to go %.0e\n", name,
                                     rows, criterion, phi, max(abs(convergence$gradient)),
                                     max(abs(convergence$newton_step)))))
}
ar1_columns <- c("client", "session", "alliance", "severity_first", "outcome")
ar1_fixed <- "outcome ~ alliance + severity_first"
# Data in which nlme's phi is within 0.15 of `start`, and all variances are well above zero.
draw_lme <- function(name, design, draw, columns, correlation, start) {
  wanted <- function(data) {
    fit <- fit_lme(design, data, correlation, start)$best
    if (is.null(fit) || abs(coef(fit$modelStruct$corStruct, unconstrained = FALSE) - start) > 0.15) return(FALSE)
    all(vapply(lapply(fit$modelStruct$reStruct, as.matrix), function(m) {
      min(diag(m)) > 0.15 && min(eigen(cov2cor(m))$values) > 0.2
    }, TRUE))
  }
  search(function() store(name, draw(), columns), wanted)
}

# 15. Integer sessions with gaps, two levels, random intercepts; rows in no order.
set.seed(20316)
d <- design(ar1_fixed, "client", list(client = "1"), residual = "ar1", time = "session")
gaps <- draw_lme("ar1_gaps", d, function() {
  rows <- simulate(30, c(6, 9, 12), covariance(0.9), keep = 0.7, phi = 0.5)
  rows[sample(nrow(rows)), ]
}, ar1_columns, corAR1, 0.5)
add_lme("ar1_gaps", gaps, d, c("alliance", "severity_first"), corAR1, c(-0.2, 0.2, 0.5, 0.8))

# 16. The same in three levels.
set.seed(20317)
d <- design("outcome ~ alliance + severity_first + training", nested, list(therapist = "1", client = "1"),
            residual = "ar1", time = "session")
three_ar1 <- draw_lme("ar1_three_levels", d, function() {
  simulate(rep(4, 10), c(5, 7, 9), covariance(0.9), covariance(0.9), keep = 0.75, phi = 0.4)
}, c("therapist", "client", "session", "alliance", "severity_first", "training", "outcome"), corAR1, 0.4)
add_lme("ar1_three_levels", three_ar1, d, c("severity_first", "training"), corAR1, c(-0.2, 0.2, 0.5, 0.8))

# 17. Continuous time: weeks with decimals; phi is the correlation one week apart and is in (0, 1).
set.seed(20318)
d <- design(ar1_fixed, "client", list(client = "1"), residual = "ar1", time = "week")
weeks <- draw_lme("ar1_weeks", d, function() {
  rows <- simulate(30, c(5, 8, 9), covariance(0.9))
  rows$week <- round(ave(runif(nrow(rows), 0.4, 2.2), rows$client, FUN = function(gap) cumsum(gap) - gap[1]), 2)
  rows$outcome <- 1 - 0.3 * rows$alliance + 0.5 * rows$severity_first + 0.9 * rnorm(30)[rows$client] +
    ar1_residuals(rows$client, rows$week, 0.5)
  rows
}, c("client", "week", "alliance", "severity_first", "outcome"), corCAR1, 0.5)
add_lme("ar1_weeks", weeks, d, c("alliance", "severity_first"), corCAR1, c(0.1, 0.3, 0.5, 0.8))

# 18. A strongly negative phi: with gaps, its powers alternate in sign.
set.seed(20319)
d <- design(ar1_fixed, "client", list(client = "1"), residual = "ar1", time = "session")
negative <- draw_lme("ar1_negative", d, function() {
  simulate(30, c(6, 9, 12), covariance(0.9), keep = 0.7, phi = -0.7)
}, ar1_columns, corAR1, -0.7)
add_lme("ar1_negative", negative, d, c("alliance", "severity_first"), corAR1, c(-0.8, -0.5, -0.2, 0.2))

# 19. Autoregressive residuals beside a correlated client slope.
set.seed(20320)
d <- design(ar1_fixed, "client", list(client = "1 + alliance"), residual = "ar1", time = "session")
slope_ar1 <- draw_lme("ar1_slope", d, function() {
  simulate(32, c(7, 9, 11), covariance(c(0.9, 0.7), 0.3), keep = 0.75, phi = 0.4)
}, ar1_columns, corAR1, 0.4)
add_lme("ar1_slope", slope_ar1, d, c("alliance", "severity_first"), corAR1, c(-0.2, 0.2, 0.5, 0.8))

# ---------------------------------------------------------------------------------------------------------------------
# Models against one another, profile intervals, constants, names
# ---------------------------------------------------------------------------------------------------------------------

# anova(small, large, refit = FALSE) of two fits by ML, and of two random parts by REML.
likelihood_ratio <- function(large, small) {
  d <- expected[[large]]$design
  d[names(small)] <- small
  small_fit <- fit_lmer(d, tables[[large]])
  table <- anova(small_fit, fits[[large]], refit = FALSE)
  list(call = "anova(small, large, refit = FALSE)", large = large, small = d, data = expected[[large]]$data,
       log_likelihood_small = as.numeric(logLik(small_fit)), log_likelihood_large = as.numeric(logLik(fits[[large]])),
       statistic = table$Chisq[2], df = table$Df[2], p_value = table$`Pr(>Chisq)`[2])
}
tests <- list(
  fixed_effects_ml = likelihood_ratio("balanced_ml", list(formula = "outcome ~ alliance + progress")),
  random_slope_reml = likelihood_ratio("growth", list(random = list(client = "1"))))

# confint(profile(fit), oldNames = FALSE), whose limits come from a spline through the profile: a quarter of the default
# step makes it sharp to some 1e-6 of the interval. lme4 profiles the ML deviance, also of a fit by REML, which it first
# refits by ML. signames = FALSE is what oldNames = FALSE is called in profile().
profile_intervals <- function(name) {
  limits <- function(...) confint(suppressWarnings(profile(fits[[name]], signames = FALSE, ...)), level = 0.95)
  interval <- limits(delta.cutoff = 1 / 32, maxpts = 1000)
  stopifnot(all.equal(interval, limits(), tolerance = 1e-4))                             # the default step
  list(call = "confint(profile(fit, signames = FALSE, delta.cutoff = 1/32, maxpts = 1000), level = 0.95)",
       design = name, reml = FALSE, level = 0.95, names = I(rownames(interval)), lower = numbers(interval[, 1]),
       upper = numbers(interval[, 2]))
}
profiles <- lapply(c("balanced_ml", "growth"), profile_intervals)

# Kenward-Roger at relative Cholesky factors that are given: lmer(start = theta) without an optimiser. lme4's order is
# client's factors, then therapist's, each column by column.
on_the_boundary <- function(name, what, theta, joint) {
  d <- expected[[name]]$design
  fit <- lmer_call(lmer_formula(d), tables[[name]], d$reml, start = theta,
                   control = lmerControl(optimizer = NULL, calc.derivs = FALSE, check.conv.singular = "ignore"))
  stopifnot(getME(fit, "theta") == theta)
  terms <- names(fixef(fit))
  list(call = "vcovAdj() and KRmodcomp() of lmer(..., start = theta, control = lmerControl(optimizer = NULL))",
       design = name, what = what, theta = theta, relative_covariance = relative_covariance(fit, d),
       terms = I(python_terms(terms, d$categories)), joint_terms = I(joint),
       kenward_roger = kenward_roger(fit, hypotheses_about(terms, joint)))
}
two <- c("alliance", "training")
boundary_points <- list(
  on_the_boundary("slopes_at_both_levels", "no variance of therapists", c(0.9, -0.2, 0.5, 0, 0, 0), two),
  on_the_boundary("slopes_at_both_levels", "no slopes of clients", c(0.9, 0, 0, 0.7, 0.2, 0.5), two),
  on_the_boundary("slopes_at_both_levels", "no intercepts of therapists", c(0.9, -0.2, 0.5, 0, 0, 0.5), two),
  on_the_boundary("slopes_at_both_levels", "correlations of -1 and 1", c(0.9, -0.5, 0, 0.7, 0.4, 0), two),
  on_the_boundary("slopes_at_both_levels", "no variance at all", numeric(6), two),
  on_the_boundary("three_effects", "two directions without variance", c(0.9, 0.3, -0.4, 0, 0, 0),
                  c("alliance", "progress")))

# Constants of the restricted likelihood: the same model in lmer and in lme.
constants <- lapply(c("balanced_reml", "growth", "early", "three_effects"), function(name) {
  d <- expected[[name]]$design
  random <- sapply(d$groups, function(level) as.formula(paste("~", d$random[[level]])), simplify = FALSE)
  fit <- do.call(lme, list(as.formula(d$formula), tables[[name]], random = random, method = "REML",
                           control = lmeControl(opt = "nlminb", msTol = 1e-14, tolerance = 1e-12, msMaxIter = 1000,
                                                msMaxEval = 10000, niterEM = 100)))
  list(design = name, lme4 = expected[[name]]$log_likelihood, nlme = as.numeric(logLik(fit)),
       difference = as.numeric(logLik(fit)) - expected[[name]]$log_likelihood)
})

# colnames(model.matrix(formula)) of the data of design `factors`: order and names of coefficients.
naming <- lapply(c("outcome ~ age:Sex + arm + age + Sex", "outcome ~ age + Sex + arm + Sex:age",
                   "outcome ~ Sex:age + arm + age + Sex", "outcome ~ arm * age + Sex",
                   "outcome ~ Sex + arm:age + age + age:Sex + arm"), function(formula) {
  terms <- colnames(model.matrix(as.formula(formula), factors))
  list(formula = formula, terms = I(python_terms(terms, categories)), terms_r = I(terms))
})

# ---------------------------------------------------------------------------------------------------------------------
# Output
# ---------------------------------------------------------------------------------------------------------------------

# No number is missing or infinite; what does not exist is null.
require_numbers <- function(x, path = "") {
  if (is.list(x)) {
    labels <- if (is.null(names(x))) seq_along(x) else names(x)
    for (i in seq_along(x)) require_numbers(x[[i]], paste0(path, "/", labels[i]))
  } else if (anyNA(x) || (is.numeric(x) && any(!is.finite(x)))) stop("missing or infinite: ", path)
}
versions <- sapply(c("lme4", "lmerTest", "pbkrtest", "clubSandwich", "nlme", "numDeriv", "jsonlite"),
                   function(package) as.character(packageVersion(package)), simplify = FALSE)
out <- list(versions = c(list(R = as.character(getRversion())), versions), designs = expected, likelihood_ratio = tests,
            profile = profiles, on_the_boundary = boundary_points, constants = constants, naming = naming)
require_numbers(out)
write_json(out, "expected.json", digits = NA, auto_unbox = TRUE, pretty = TRUE, null = "null")
