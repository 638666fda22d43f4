"""What stands under each figure: how to read it, how it was made, and when it misleads.

The same texts are the captions of Snakemake's own report (``workflow/report/<figure>.rst``); a test holds the two
together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """The caption of a figure.

    Parameters
    ----------
    title : str
        Short title.
    read : str
        How to read the figure.
    made : str
        How it was made; what a run adds (levels of intervals, numbers of units) is appended.
    misleads : str
        When it misleads.
    """

    title: str
    read: str
    made: str
    misleads: str

    def with_detail(self, detail: str) -> Caption:
        """Return the caption with what a run adds to ``made``."""
        return Caption(self.title, self.read, f"{self.made} {detail}".strip(), self.misleads)


CAPTIONS = {
    "contrast": Caption(
        "Whose view counts for more, at each level",
        "A black diamond is the difference D: the client's standardised coefficient minus the therapist's. "
        "Coefficients are the change in severity that goes with a rating one standard deviation higher, so "
        "negative means less severity. A diamond left of zero favours the client's view, right of zero the "
        "therapist's, provided that the favoured coefficient itself is negative. Where the line through a diamond "
        "crosses zero, the data do not tell the two raters apart.",
        "All raters are in one model, so each coefficient is what one rater adds to the others. REML (restricted "
        "maximum likelihood) and Bayesian are two ways to estimate the same model. Standard deviations (SD) are "
        "those of the level in question, on the rows of that model, and are held fixed.",
        "Compare D with zero, not one rater's interval with the other's: two intervals may overlap although D is "
        "clear, and one may exclude zero although D is not. Differences between clients over the whole of therapy "
        "include later sessions and later severity. Means of few sessions pull the between-client "
        "and between-therapist "
        "coefficients towards the level below.",
    ),
    "coefficients": Caption(
        "Alliance coefficients across models",
        "Each symbol is one coefficient in one model, on the line of its interval; colour and symbol say whose "
        "rating it is. Left of zero: higher ratings go with less severity. Compare the same rater down a block to "
        "see how much the answer depends on the model.",
        "Raw coefficients, per point of the rater's own scale, from every model that was fitted, all raters in one "
        "model.",
        "Points of different scales are not comparable between raters; the contrast figure uses "
        "standard deviations for "
        "that. Models that contain the previous severity answer another question, and their within-client "
        "coefficients are biased towards zero in short series.",
    ),
    "explained": Caption(
        "What each rater's alliance explains, at each level",
        "Each symbol is a share of the outcome's variance at that level, with its interval: what the alliance rated by "
        "one rater explains beyond everything else in the model, the other rater's view included (unique), and what "
        "either view would explain as well as the other (common). Unique and common parts add up to what the raters "
        "explain together. Every level has an axis of its own.",
        "The model was fitted again without each rater's alliance and without any, and the explained variance compared "
        "(commonality analysis). Therapists, with all their clients and sessions, were drawn again and again, and all "
        "these models refitted each time; in a model without a therapist level clients were drawn.",
        "A negative common part is no error: it says that the two views suppress each other, so that each explains "
        "more beside the other than alone. Chance alone lifts a unique part above zero in most samples, so an "
        "interval above zero is no test of anything; that is what D and the coefficients are for. A large share of a "
        "level with little variance is still little, above all between therapists, and shares say nothing about "
        "causes.",
    ),
    "residuals": Caption(
        "Residuals and client effects of the model behind the answer",
        "Quantiles on the diagonal line mean a normal distribution. Mean residuals should scatter about zero, and "
        "their spread about one height, whatever the fitted value and however late in therapy; autocorrelation should "
        "be zero. Grey bars show where 95\N{NO-BREAK SPACE}% of the dots would lie if there were nothing but chance.",
        "Residuals are outcomes minus fitted values, in units of the model's residual standard deviation; effects of "
        "clients are in units of their own. Autocorrelation is that of residuals made independent under the model, "
        "client by client. No dot rests on fewer than 10 clients.",
        "Fitted values contain effects of clients that are pulled towards zero. Residuals therefore rise a little "
        "with fitted values in every such model, and estimated effects look more normal than the true ones. In large "
        "samples deviations that matter to nobody leave the grey bars; judge their size first.",
    ),
    "trajectories": Caption(
        "Alliance and severity over sessions",
        "The line is the mean of the clients rated at that session, the band holds the middle half of them. In "
        "brackets: how many clients were rated at the first and at the last session shown.",
        "Only sessions rated for at least 10 clients are shown, and never a single client.",
        "Clients who leave therapy drop out of the later means, so a line may rise because some clients left and not "
        "because anybody changed. The middle half describes clients; it is not an interval for the mean.",
    ),
    "missingness": Caption(
        "Ratings present, by session and rater",
        "Each line is the share of held sessions at which that rating exists; the grey numbers count "
        "the sessions held.",
        "Held sessions are the denominator: a session that never took place is not missing. Only sessions held "
        "with at least 10 clients are shown. Numbers of clients are rounded to the nearest five, so that shares of few "
        "clients are coarse.",
        "A high share says nothing about whether the missing ratings differ from the present ones.",
    ),
    "agreement": Caption(
        "Agreement of the raters",
        "Each symbol is a correlation of the two raters with its interval: within clients (do they move together "
        "from session to session?), between clients, and between therapists. Right of zero they agree, at 1 "
        "perfectly.",
        "Correlations come from the deviations and means that enter the models.",
        "Correlation is not sameness: raters may correlate perfectly and differ by a constant, which is the mean "
        "difference given with the table. Few sessions per client, and few therapists, make "
        "correlations of means noisy.",
    ),
    "predictive": Caption(
        "What the Bayesian model expects against what was observed",
        "Each line is a summary of the data; the grey bar is the range that the model expects and "
        "the cross is what was "
        "observed. A cross far outside the bar means that the model does not reproduce that feature.",
        "Each bar is the middle 90\N{NO-BREAK SPACE}% of simulated data sets, rescaled so that the median is 0 and "
        "the bar's half-width is 1; the numbers at the right are in the original units.",
        "The check before the data only asks whether the priors allow what is plausible: bars far wider than the "
        "data are harmless, bars that miss it are not. The check after the data uses the data twice and is "
        "therefore lenient.",
    ),
    "reliability": Caption(
        "How reliably each rater's alliance is measured",
        "Each marker is ω, the share of variance in a score that its items have in common; the line is its 95 % "
        "interval. Within clients it is about how a session differs from the client's usual: that is what the "
        "session-to-session contrast rests on.",
        "Two-level models of one factor within and one between clients, by maximum likelihood on all sessions; items "
        "missing at random.",
        "ω counts what the items share as true, also a mood of the day or a habit of answering. One factor may be "
        "too few where the parts of the alliance (goals, tasks, bond) differ: see the fit in the table.",
    ),
    "perception": Caption(
        "Where each rater's alliance varies, and what the raters have in common",
        "Above, each marker is the share of one rater's variance that belongs to therapists, to clients with their "
        "relationship, or to sessions; a rater's shares add up to 100. Below, a diamond is the correlation of the two "
        "raters' parts: of therapists (generalised reciprocity), of clients with their relationship (dyadic "
        "reciprocity), and of sessions.",
        "One model of both raters' ratings by restricted maximum likelihood on all sessions that either rated "
        "(one-with-many design). Intervals are of the profile likelihood.",
        "Therapists in what clients say are partners, in what therapists say perceivers: the same word for two things. "
        "The part of the session holds measurement error too. An interval from −1 to 1 says that nothing is known.",
    ),
    "dynamics": Caption(
        "The contrast of the raters from one session to the next, by model",
        "A black diamond is the difference D: the path from the client's alliance to the next severity minus that from "
        "the therapist's, each per standard deviation within clients; the paths stand beneath it. The first block has "
        "the panel models, the primary one first, and beneath them the multilevel models that the field usually fits. "
        "The second block repeats the primary model with other sessions, later effects and parts of the sample.",
        "Panel models by full-information maximum likelihood on the sessions that the text names; multilevel models on "
        "the rows that are complete. Standard deviations are held fixed: latent in the cross-lagged models, of the "
        "ratings as they are in the others.",
        "A model that fits badly, or one without trends where clients have them, may be off by more than its interval "
        "says. Parts of the sample are small, so that their intervals are wide; that two parts differ is not shown by "
        "one interval that excludes zero and one that does not. How long treatment lasts depends on how it goes: parts "
        "by ending or length are not comparable groups.",
    ),
    "bias": Caption(
        "How far off each estimator would be in a study of this size",
        "Each marker is the mean error of an estimator of the client's path over simulated studies whose truth is "
        "known; zero is none. Squares are panel models, circles the multilevel models that the field usually fits. "
        "The line is the Monte Carlo interval of the mean; beside it stands how often the estimator's own 95 % "
        "intervals hold the truth. The diamond is the mean error of D, in which what is wrong with both "
        "raters' paths may cancel.",
        "Studies with this one's clients, sessions and missing values, simulated from the primary panel model with "
        "planted paths, of which the client's is the larger one, the same without trends, and with autocorrelated "
        "measurement error.",
        "Data may arise in other ways. Missing values are put where the study has them, whatever the values are: what "
        "dropout that depends on outcome does is not shown. Bias does not choose the model: that was fixed before.",
    ),
    "measurement_error": Caption(
        "The contrast with measurement error and missing ratings allowed for",
        "A black diamond is the difference D, as in the figure of the answer; the coefficients of the raters stand "
        "beneath it. Compare the diamonds of one level: the first takes ratings as they are, from rows in which all "
        "raters answered; the second has latent means and keeps rows in which a rating is missing; the third, where "
        "the study file states reliabilities, also allows for the error of ratings.",
        "Severity and all ratings are outcomes of one model, from which missing values are integrated out. "
        "Standard deviations are those of the level in question: of the ratings in the first version, latent in the "
        "others, where they are estimated together with the rest.",
        "A correction is as good as the reliabilities that go into it: too low a reliability makes a rater look too "
        "important. It also widens intervals, because part of what ratings say is error: an interval that only then "
        "includes zero does not say that D is zero. Missing ratings are assumed to be missing at random, given what "
        "was observed. With latent means slopes are the same for all clients and residuals independent, so that "
        "intervals may be too narrow where clients differ or neighbouring sessions resemble each other.",
    ),
    "response_surface": Caption(
        "Severity by both raters' alliance",
        "Each panel is a map: one rating runs to the right, the other upwards, and colour and the numbers on the lines "
        "say which severity is expected there; yellow is low, blue is high. On the dashed line the raters agree. If "
        "agreement is what counts, the map has a valley along the dashed line, and severity rises to either side of "
        "it. Where severity changes along the dashed line, how high the raters agree matters. The solid line is the "
        "first principal axis, the bottom of the valley if there is one; it is drawn only where the data say which "
        "way it points.",
        "Predictions of a multilevel model with squares and the product of both ratings, everything else at its mean. "
        "Within clients, zero is the client's own average in each rater's eyes: the panel shows raters who change "
        "together, not raters who give the same number. Between clients, zero is one rating for both, halfway between "
        "the two raters' averages, so that the dashed line means the same rating.",
        "Only the region inside an ellipse is shown that holds 90 % of a bivariate normal distribution with the "
        "ratings' means, standard deviations and correlation. It is computed from these alone, so that nobody's "
        "rating can be read from its edge, and it may reach beyond the ends of the form. A map looks certain "
        "everywhere: how far the data support it is said by the conditions beneath it, not by its colours.",
    ),
    "truth": Caption(
        "What generated the data against what was estimated",
        "The study is simulated, so the answer is known. The star is the value that generated the data, the vertical "
        "tick is the pseudo-true value: what this model finds with endless data. Over many studies, intervals should "
        "hold the tick as often as their level says.",
        "Pseudo-true values come from one very large simulated study, analysed by the same models.",
        "A model may miss the star in every sample and still be computed correctly: star and tick "
        "differ wherever means "
        "of few sessions stand for a client or therapist. One data set shows neither bias nor coverage.",
    ),
    "timing": Caption(
        "Which rating is paired with which severity",
        "Time runs from left to right through two neighbouring sessions. A bar marks a session, a "
        "symbol a rating taken "
        "before or after it, and the arrow leads from each alliance rating to the severity it is paired with.",
        "The pair is the first severity measured strictly after the alliance rating, as the study file times both.",
        "A severity form that looks back over days may describe the time before the alliance rating; then the two "
        "are not separated in time, whatever the arrow says.",
    ),
}


def caption_rst(name: str) -> str:
    """Write the caption of a figure as reStructuredText, for Snakemake's report.

    Parameters
    ----------
    name : str
        A key of :data:`CAPTIONS`.

    Returns
    -------
    str
        The file's text.
    """
    caption = CAPTIONS[name]
    return (
        f"**{caption.title}.**\n\n"
        f"*How to read it.* {caption.read}\n\n"
        f"*How it was made.* {caption.made}\n\n"
        f"*When it misleads.* {caption.misleads}\n"
    )
