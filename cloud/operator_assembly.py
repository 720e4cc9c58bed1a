"""Puts together what operators may do, and the log that it is recorded in."""

from collections.abc import Callable, Sequence

from cloud.access.book import WITNESS
from cloud.assembly import Cloud, make_rollouts
from cloud.audit_log import AuditLog, Recorder
from cloud.fleet.budgets import Budgets
from cloud.operator_actions import OperatorActions
from lifelong.links.journal import utc_now
from lifelong.records.rounds import Round


def make_audit_log(cloud: Cloud) -> AuditLog:
    """The audit log of this storage, with this machine's witness of its newest entry."""
    witness = cloud.config.web.access_path / WITNESS
    return AuditLog(cloud.storage, utc_now, witness=witness)


def make_actions(
    cloud: Cloud,
    audit: Recorder | None = None,
    *,
    rounds: Callable[[], Sequence[Round]] | None = None,
    done: Callable[[], object] = lambda: None,
) -> OperatorActions:
    """What operators may do, by the pages or by a command.

    Args:
        audit: None: a log of its own, which is as good.
        rounds: all of them; None: read from storage at each call.
        done: called after each action.
    """
    return OperatorActions(
        storage=cloud.storage,
        releases=cloud.releases,
        rollouts=make_rollouts(cloud),
        rounds=rounds or cloud.rounds.all,
        budgets=Budgets(cloud.storage, cloud.journal),
        audit=audit or make_audit_log(cloud),
        now=utc_now,
        done=done,
    )
