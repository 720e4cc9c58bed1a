"""INT-08, INT-10, INT-11, INT-12: the bench of interactive annotation still runs, at its smallest.

Its figures are for docs/assist.md; none of them is judged here but those that no machine changes.
"""

import json

import pytest

from bench.assist import measured, options
from bench.assist_requests import iou, painted, predict_body, regions_on
from lifelong.records.prompts import Point


@pytest.mark.slow
def test_int_08_10_11_12_every_goal_of_a_click_is_measured_on_a_real_server(tmp_path):
    words = (
        "--only clicks annotators memory --model tiny --height 96 --width 160 --clicks 2 "
        "--prefetched 2 --annotators 2 --clicks-of-each 4 --pictures 3 --clicks-each 3"
    )

    found = measured(options().parse_args([*words.split(), "--folder", str(tmp_path)]))

    for name in (
        "second_click_over_decoder", "second_click_over_decoder_at_500",
        "refining_click_over_decoder", "first_click_after_prefetch_over_decoder",
        "memory_growth", "annotators_p99_ms",
    ):  # fmt: skip
        assert found[name] > 0.0, name
    assert found["masks_other_than_the_decoders"] == 0
    assert found["first_clicks_after_prefetch"] == 2
    assert found["annotators_clicks"] == 8
    assert found["annotators_regions"] > 0
    assert found["annotators_masks_differ"] == found["annotators_failed"] == 0
    assert found["memory_clicks"] == 9
    assert len(found["memory_series_mib"]) == 3
    assert found["peer_second_click_over_ours"] is None  # nobody named one
    assert "docs/assist.md" in found["peer_why_not"]


def test_int_12_a_request_with_regions_holds_brush_strokes_and_polygons_in_turns():
    regions = regions_on(6, 60, 90)

    assert [region["type"] for region in regions] == ["brushlabels", "polygonlabels"] * 3
    bare = predict_body("a.jpg", [Point(3, 4)], (60, 90))
    full = predict_body("a.jpg", [Point(3, 4)], (60, 90), regions=regions)
    assert len(full) > len(bare) + 1000
    answer = {"results": [{"result": [regions[0]]}]}
    stroke = painted(json.dumps(answer).encode(), (60, 90))
    assert stroke is not None
    assert 0 < stroke.sum() < stroke.size
    assert iou(stroke, stroke) == 1.0
