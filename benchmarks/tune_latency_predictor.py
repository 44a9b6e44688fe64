"""What the default predictor is made of, chosen with the sources of the twelve sets alone.

    python benchmarks/tune_latency_predictor.py [--seeds N]

Each source in turn plays the new device; those that rank networks as it does (Spearman above .85) are withheld, as in
the sets their like would be. No target's values are read. Prints a line for each variant.
"""
