"""Do the panel models' intervals hold the truth, where a model is right and where it is not?"""
