"""Pipelines that may spill, by vendor and kernel, and why. None is part of reading or writing text."""

SPILLS = {
    ("intel", "tower_attention"): "a query and its sums are 128 to 144 values of one lane, which has "
                                  "64 or 128 registers; a picture's encoder alone runs it",
}


def may_spill(vendor, name):
    return (vendor, name.split(":")[0]) in SPILLS
