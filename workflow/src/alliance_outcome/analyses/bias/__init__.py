"""What each estimator of session-to-session effects would find in a study like the user's own.

Studies are simulated with as many clients and sessions, and with what is missing where it is missing, from processes
whose effects are planted; each estimator that the field uses is applied to all of them. The table says how far off each
would be. The primary estimator is never chosen from it.
"""
