# Reference values for response surfaces: simulates two data sets, fits a least-squares surface with lavaan and
# multilevel surfaces with lme4, and writes <name>.csv and expected.json.
#
#   Rscript reference.R        (in this folder; R 4.2.2, lavaan 0.6.14, lme4 1.1.31, jsonlite 1.8.4)
#
# The package RSA cannot be had on the machine that this ran on. Its model syntax is lavaan's, so its definitions stand
# here as lavaan's defined parameters, and once more as expressions that R differentiates for the fits of lme4.

suppressMessages({library(lavaan); library(lme4); library(jsonlite)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")

definitions <- c(
  a1 = "b1 + b2", a2 = "b3 + b4 + b5", a3 = "b1 - b2", a4 = "b3 - b4 + b5", a5 = "b3 - b5",
  x0 = "(b2*b4 - 2*b1*b5) / (4*b3*b5 - b4^2)", y0 = "(b1*b4 - 2*b2*b3) / (4*b3*b5 - b4^2)",
  p11 = "(b5 - b3 + sqrt((b3 - b5)^2 + b4^2)) / b4", p21 = "(b5 - b3 - sqrt((b3 - b5)^2 + b4^2)) / b4",
  shift = "(b1 - b2) / (b3 - b4 + b5)"
)
axis <- function(slope) sprintf("(%s) - (%s) * (%s)", definitions["y0"], definitions[slope], definitions["x0"])
definitions <- c(definitions, p10 = axis("p11"), p20 = axis("p21"))

surface <- function(x, y, b) b[1] * x + b[2] * y + b[3] * x^2 + b[4] * x * y + b[5] * y^2

squares <- function(data) transform(data, xx = x^2, xy = x * y, yy = y^2)

simulate_flat <- function(seed, n, b) {
  set.seed(seed)
  x <- rnorm(n, .2)
  y <- .4 * x + rnorm(n, -.2)
  round(data.frame(x, y, z = 1 + surface(x, y, b) + rnorm(n, sd = 1.5)), 4)
}

simulate_nested <- function(seed, therapists, clients, sessions, b) {
  set.seed(seed)
  client <- rep(seq_len(therapists * clients), each = sessions)
  therapist <- (client - 1) %/% clients + 1
  x <- rnorm(length(client))
  y <- .3 * x + rnorm(length(client))
  slope <- rnorm(max(client), sd = .5)[client]
  z <- 10 + surface(x, y, b) + slope * x + rnorm(max(client), sd = 1.5)[client] +
    rnorm(therapists, sd = .8)[therapist] + rnorm(length(client), sd = 2)
  cbind(client, therapist, round(data.frame(x, y, z), 4))
}

by_lavaan <- function(data) {
  defined <- paste(names(definitions), ":=", definitions, collapse = "\n")
  fit <- sem(paste("z ~ 1 + b1*x + b2*y + b3*xx + b4*xy + b5*yy", defined, sep = "\n"), squares(data),
             fixed.x = TRUE, meanstructure = TRUE)
  found <- subset(parameterEstimates(fit), label %in% c(paste0("b", 1:5), names(definitions)))
  list(estimate = as.list(setNames(found$est, found$label)), std_error = as.list(setNames(found$se, found$label)))
}

by_delta <- function(b, covariance) {
  names(b) <- paste0("b", 1:5)
  expressions <- c(setNames(paste0("b", 1:5), paste0("b", 1:5)), definitions)
  evaluated <- lapply(expressions, function(text) eval(deriv(parse(text = text)[[1]], names(b)), as.list(b)))
  gradient <- lapply(evaluated, function(value) as.numeric(attr(value, "gradient")))
  list(
    estimate = lapply(evaluated, as.numeric),
    std_error = lapply(gradient, function(g) sqrt(as.numeric(t(g) %*% as.matrix(covariance) %*% g)))
  )
}

by_lme4 <- function(data, formula) {
  control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5))
  fit <- lmer(formula, squares(data), control = control)
  by_delta(fixef(fit)[-1], vcov(fit)[-1, -1])
}

flat <- simulate_flat(1, 250, c(.3, .1, -.6, .9, -.5))
ridge <- simulate_flat(2, 400, c(.4, .4, -.5, 1, -.5))
nested <- simulate_nested(3, 12, 8, 6, c(.5, .2, -.5, .8, -.6))
data <- list(flat = flat, ridge = ridge, nested = nested)
for (name in names(data)) write.csv(data[[name]], paste0(name, ".csv"), row.names = FALSE)

least_squares <- function(data) {
  fit <- lm(z ~ x + y + xx + xy + yy, squares(data))
  by_delta(coef(fit)[-1], vcov(fit)[-1, -1])
}

expected <- list(
  lavaan = lapply(data[c("flat", "ridge")], by_lavaan),
  lm = lapply(data[c("flat", "ridge")], least_squares),
  lme4 = list(
    intercepts = by_lme4(nested, z ~ x + y + xx + xy + yy + (1 | therapist) + (1 | client)),
    slopes = by_lme4(nested, z ~ x + y + xx + xy + yy + (1 | therapist) + (1 + x | client))
  )
)
write(toJSON(expected, auto_unbox = TRUE, digits = NA, pretty = TRUE), "expected.json")
