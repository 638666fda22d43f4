"""Names in the tables of how raters see the same alliance; nothing here needs an estimator."""

from __future__ import annotations

#: Analyses, which are their models' names too.
ONE_WITH_MANY, TRUTH_AND_BIAS = "one_with_many", "truth_and_bias"
#: Truth and bias with the client's first severity as a moderator.
BY_SEVERITY = "truth_and_bias_by_severity"

#: Parts of a rater's variance by level. Where a client has one therapist, what is particular to the client cannot be
#: told from what is particular to the pair; without therapists, neither can the therapist.
COMPONENTS = {
    "within_client": "session",
    "between_client": "client_and_relationship",
    "between_client_pooled": "client_relationship_and_therapist",
    "between_therapist": "therapist",
}
SHARE, DEVIATION = "share_", "sd_"

#: Correlation of the two raters' parts by level.
RECIPROCITIES = {
    "within_client": "session_correlation",
    "between_client": "dyadic_reciprocity",
    "between_client_pooled": "pooled_reciprocity",
    "between_therapist": "generalised_reciprocity",
}
MEAN_DIFFERENCE = "mean_difference"

#: Terms of truth and bias.
BIAS, BIAS_CHANGE, BIAS_BY_SEVERITY = "directional_bias", "bias_change", "bias_by_severity"
TRACKING, STANDARDISED_TRACKING, TRACKING_SPREAD = "tracking", "tracking_standardised", "tracking_sd"
TRACKING_CHANGE, TRACKING_BY_SEVERITY = "tracking_change", "tracking_by_severity"

#: Reason of what takes the same form from both raters.
FORMS_DIFFER = "not applicable: the raters' forms differ"
