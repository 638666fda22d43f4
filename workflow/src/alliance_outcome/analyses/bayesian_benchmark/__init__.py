"""How many effective draws a second: the Bayesian multilevel model beside brms and bambi."""
