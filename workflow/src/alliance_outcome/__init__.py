"""Whose view of the therapeutic alliance predicts outcome, the client's or the therapist's?

The package is the library behind the workflow; it never imports Snakemake. Its floors, each importing only from the
ones below: ``report`` > ``analyses`` > ``models`` > ``design`` > ``data`` > ``settings``, ``errors``, ``provenance``.
"""
