"""What is written down about drafts that skip people: each object once, none ever changed.

auto_accept/evidence/{round}/{sample}.json   a draft, and what a person found wrong with it
auto_accept/verdicts/{round}/{sample}.json   whether a draft went to people, and why
auto_accept/rules/{number}.json              the thresholds and their proof
auto_accept/ends/{number}.json               that a rule ended, and why
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.annotators.auto_accept_rule import AcceptRule, Evidence, measured
from lifelong.errors import ObjectExistsError, ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.wire import from_json, to_json

ROOT = "auto_accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided about one draft before anybody saw it; it is never decided again."""

    sample_id: SampleId
    round_number: RoundNumber
    drafted_by: str
    draft_key: str
    label_map_digest: str  # whose ids the draft holds; "": of the first label map
    confidence: float
    agreement: float
    rule: int  # the one that accepted it; 0: no rule did
    audited: bool  # it goes to people although a rule accepted it
    at: datetime  # UTC

    @property
    def skips_people(self) -> bool:
        """Is it a label already?"""
        return self.rule > 0 and not self.audited


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEnd:
    """That a rule holds no more, and why."""

    number: int
    reason: str
    unseen: tuple[SampleId, ...]  # labels that it made and no person has looked at
    at: datetime  # UTC


class AutoAcceptRecords:
    """What is written down about drafts that skip people."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._evidence: dict[str, Evidence] = {}  # records never change
        self._verdicts: dict[str, Verdict] = {}
        self._rules: dict[str, AcceptRule] = {}

    def verdict(self, number: RoundNumber, sample_id: SampleId) -> Verdict | None:
        """What was decided about a draft; None when nothing was."""
        key = f"{ROOT}/verdicts/{number}/{sample_id}.json"
        if key not in self._verdicts:
            try:
                self._verdicts[key] = from_json(Verdict, self._storage.get(key), key)
            except ObjectNotFoundError:
                return None
        return self._verdicts[key]

    def add_verdict(self, verdict: Verdict) -> Verdict:
        """Write it down; the one that was there first holds."""
        self._add(f"verdicts/{verdict.round_number}/{verdict.sample_id}", verdict)
        return self.verdict(verdict.round_number, verdict.sample_id) or verdict

    def has_evidence(self, number: RoundNumber, sample_id: SampleId) -> bool:
        """Is it written down already what a person found there?"""
        key = f"{ROOT}/evidence/{number}/{sample_id}.json"
        return self._storage.exists(key)

    def add_evidence(self, evidence: Evidence) -> None:
        """Write it down, once."""
        self._add(f"evidence/{evidence.round_number}/{evidence.sample_id}", evidence)

    def evidence(self) -> list[Evidence]:
        """All of it, oldest round first."""
        for key in self._storage.keys(f"{ROOT}/evidence"):
            if key not in self._evidence:
                self._evidence[key] = from_json(Evidence, self._storage.get(key), key)
        return sorted(self._evidence.values(), key=lambda e: (e.round_number, e.at, e.sample_id))

    def untouched_evidence(self, drafted_by: str) -> list[Evidence]:
        """Of these models, from rounds in which no rule took any of their drafts from people, and
        that came after the last rule ended: a fair picture of what such drafts are now."""
        ended = [end.at for end in self.ends().values()]
        since = max(ended) if ended else None
        taken = {v.round_number for v in self.verdicts() if v.rule and v.drafted_by == drafted_by}
        return [
            one
            for one in self.evidence()
            if one.drafted_by == drafted_by
            and one.round_number not in taken
            and (since is None or one.at > since)
        ]

    def verdicts(self) -> list[Verdict]:
        """Every verdict."""
        for key in self._storage.keys(f"{ROOT}/verdicts"):
            if key not in self._verdicts:
                self._verdicts[key] = from_json(Verdict, self._storage.get(key), key)
        return list(self._verdicts.values())

    def rules(self) -> list[AcceptRule]:
        """Every rule there was, oldest first."""
        for key in self._storage.keys(f"{ROOT}/rules"):
            if key not in self._rules:
                self._rules[key] = from_json(AcceptRule, self._storage.get(key), key)
        return sorted(self._rules.values(), key=lambda rule: rule.number)

    def ends(self) -> dict[int, RuleEnd]:
        """Why rules ended, by number."""
        keys = self._storage.keys(f"{ROOT}/ends")
        found = [from_json(RuleEnd, self._storage.get(key), key) for key in keys]
        return {end.number: end for end in found}

    def rules_in_force(self) -> list[AcceptRule]:
        """Those that have not ended."""
        ended = self.ends()
        return [rule for rule in self.rules() if rule.number not in ended]

    def rule_of(self, drafted_by: str) -> AcceptRule | None:
        """The rule in force for drafts of these models."""
        found = [rule for rule in self.rules_in_force() if rule.drafted_by == drafted_by]
        return found[-1] if found else None

    def last_number(self) -> int:
        """Of the newest rule; 0 when there is none."""
        return max((rule.number for rule in self.rules()), default=0)

    def add_rule(self, rule: AcceptRule) -> None:
        """Write it down, once."""
        self._add(f"rules/{rule.number:06d}", rule)

    def add_end(self, end: RuleEnd) -> bool:
        """Write down that a rule ended; False when that was known."""
        return self._add(f"ends/{end.number:06d}", end)

    def audits_of(self, rule: AcceptRule) -> list[Evidence]:
        """What people found in drafts that a rule had accepted, oldest first."""
        theirs = {
            (v.round_number, v.sample_id)
            for v in self.verdicts()
            if v.rule == rule.number and v.audited
        }
        return [one for one in self.evidence() if (one.round_number, one.sample_id) in theirs]

    def unseen(self, rule: AcceptRule) -> tuple[SampleId, ...]:
        """Labels that a rule made and no person has looked at."""
        made = [v for v in self.verdicts() if v.rule == rule.number and v.skips_people]
        return tuple(sorted(verdict.sample_id for verdict in made))

    def _add(self, name: str, record: object) -> bool:
        try:
            self._storage.put_if_absent(f"{ROOT}/{name}.json", to_json(record))
        except ObjectExistsError:
            return False
        return True


def told(records: AutoAcceptRecords) -> dict[str, Any]:
    """How automatic acceptance stands, JSON-ready: rules, what audits measured, why they ended."""
    ended = records.ends()
    rows = []
    for rule in records.rules():
        rate, end = measured(records.audits_of(rule), rule.max_error_rate), ended.get(rule.number)
        rows.append(
            {
                "rule": rule.number,
                "drafted_by": rule.drafted_by,
                "min_confidence": round(rule.min_confidence, 4),
                "min_agreement": round(rule.min_agreement, 4),
                "proven_on": rule.pictures,
                "proven_at_most": round(rule.at_most, 5),
                "max_error_rate": rule.max_error_rate,
                "accepted": len(records.unseen(rule)),
                "audits": rate.audits,
                "error_rate": None if rate.mean is None else round(rate.mean, 5),
                "at_least": round(rate.at_least, 5),
                "at_most": round(rate.at_most, 5),
                "ended": end.reason if end else "",
                "unseen": list(end.unseen) if end else [],
            }
        )
    return {"rules": rows, "evidence": len(records.evidence())}


def told_lines(found: Mapping[str, Any], *, is_on: bool) -> list[str]:
    """The same for people."""
    lines = [
        f"labels.auto_accept is {'on' if is_on else 'off'}; "
        f"{found['evidence']} drafts were corrected by people"
    ]
    for row in found["rules"]:
        lines.append(
            f"rule {row['rule']} ({row['drafted_by']}): confidence from "
            f"{row['min_confidence']:.3f}, agreement from {row['min_agreement']:.3f}; proven on "
            f"{row['proven_on']} pictures: at most {_percent(row['proven_at_most'])} wrong"
        )
        measured_rate = (
            f"{_percent(row['error_rate'])} wrong ({_percent(row['at_least'])} to "
            f"{_percent(row['at_most'])})"
            if row["audits"]
            else "nothing measured yet"
        )
        lines.append(
            f"    {row['accepted']} labels without a person, {row['audits']} audits: "
            f"{measured_rate}"
        )
        if row["ended"]:
            lines.append(f"    ended: {row['ended']}")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
