"""Are the Bayesian models' posteriors calibrated: over their priors, and at fixed true values?"""
