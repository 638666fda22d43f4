"""How fast is the multilevel engine, beside lme4, statsmodels and mixedlm, on data that all of them read?"""
