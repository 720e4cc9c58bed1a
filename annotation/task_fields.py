"""The names under which a task in Label Studio remembers where it came from, and what it shows.

Label Studio refuses a task that lacks a field which the labelling config shows: NOTE, PROMPT and
UNSURE are always there, empty or with the plain picture when there is nothing to say.
"""

SAMPLE = "cornerloop_sample"
ROUND = "cornerloop_round"
NOTE = "cornerloop_note"  # a line for the annotator, e.g. why the work was sent back
PROMPT = "cornerloop_prompt"  # words for a text prompt, kept from the task before
UNSURE = "cornerloop_unsure"  # address of the picture that shows where the draft is unsure
RANK = "cornerloop_rank"  # place in the queue, a text that sorts; see annotation/queue_order.py
