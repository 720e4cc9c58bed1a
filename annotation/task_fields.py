"""The names under which a task in Label Studio remembers where it came from."""

SAMPLE = "cornerloop_sample"
ROUND = "cornerloop_round"
