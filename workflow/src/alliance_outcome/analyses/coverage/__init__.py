"""Do 95 % intervals of the multilevel engine hold the truth as often as they say, with few therapists too?"""
