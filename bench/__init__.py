"""The benchmark: real processes on free ports, figures as ratios within one run. See README.md here."""
