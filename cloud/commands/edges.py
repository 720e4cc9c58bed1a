"""`cornerloop edges` and `cornerloop rollout`: how the fleet stands, and who gets a new model."""

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from cloud.assembly import Cloud

rollout_app = typer.Typer(help="How a new model comes to the fleet.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

_COLUMNS = ("edge", "state", "version", "report", "fps", "p99 ms", "°C", "hard", "outbox", "disk")


def edges(
    config: ConfigOption,
    edge: Annotated[str | None, typer.Argument(help="Only this node, with all it says.")] = None,
    as_json: JsonOption = False,
) -> None:
    """How every edge node stands: what it runs, how it does, what it says is wrong."""
    from lifelong.errors import ConfigError

    found = _overview(config)
    if edge is not None:
        names = [one["edge"] for one in found["edges"]]
        found["edges"] = [one for one in found["edges"] if one["edge"] == edge]
        if not found["edges"]:
            near = difflib.get_close_matches(edge, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see `cornerloop edges`"
            raise ConfigError(f"no node {edge!r} has ever reported; {hint}")
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    elif edge is not None:
        typer.echo(_detail(found["edges"][0]))
    else:
        typer.echo(fleet_text(found))


@rollout_app.command("status")
def status(config: ConfigOption, as_json: JsonOption = False) -> None:
    """How far the last staged release has come, and why not farther."""
    found = _overview(config)["rollout"]
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        typer.echo(rollout_text(found))


@rollout_app.command("halt")
def halt(config: ConfigOption) -> None:
    """Withdraw the staged release; its nodes go back to the version before."""
    _decide(config, "halt")


@rollout_app.command("promote")
def promote(config: ConfigOption) -> None:
    """Give the staged release to everybody now, whatever its stage has shown."""
    _decide(config, "promote")


def _decide(config: Path, wish: Literal["halt", "promote"]) -> None:
    from cloud.assembly import make_rollouts, open_cloud
    from cloud.lease import Lease
    from cloud.operator_actions import terminal_user
    from cloud.operator_assembly import make_actions
    from lifelong.config import load_config
    from lifelong.links.journal import utc_now

    cloud = open_cloud(load_config(config))
    rollouts = make_rollouts(cloud)
    rollout = make_actions(cloud).end_rollout(wish, terminal_user())
    # The service carries it out at its next look; where none runs, this command does.
    lease = Lease(cloud.storage, cloud.config.rounds.lease_seconds, utc_now)
    if not lease.hold():
        typer.echo(f"release {rollout.number}: the service will {wish} it within seconds")
        return
    try:
        while rollouts.step():
            pass
    finally:
        lease.release()
    typer.echo(rollout_text(_summary(cloud)["rollout"]))


def _overview(config: Path) -> dict[str, Any]:
    from cloud.assembly import open_cloud
    from lifelong.config import load_config

    return _summary(open_cloud(load_config(config)))


def _summary(cloud: "Cloud") -> dict[str, Any]:
    from cloud.assembly import make_fleet_view

    return make_fleet_view(cloud)()


def fleet_text(found: dict[str, Any]) -> str:
    """The table of all nodes, for people."""
    if not found["edges"]:
        return "no node has reported yet; nodes do when edge.health.report_seconds is not 0"
    rows = [_COLUMNS, *(_row(one) for one in found["edges"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = []
    for row, one in zip(rows, [None, *found["edges"]], strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        reasons = "; ".join(one["reasons"]) if one else ""
        lines.append("  ".join([*cells, reasons]).rstrip())
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    nodes = len(found["edges"])
    lines.append(f"\n{nodes} node{'' if nodes == 1 else 's'}: {counts}")
    if found["rollout"] and found["rollout"]["state"] not in {"promoted", "halted"}:
        lines.append(rollout_text(found["rollout"]))
    return "\n".join(lines)


def rollout_text(rollout: dict[str, Any] | None) -> str:
    """A roll-out in a few lines, for people."""
    if rollout is None:
        return "no release was ever staged; releases.stages says who gets one first"
    lines = [
        f"release {rollout['number']} ({rollout['why']}): version {rollout['version']}, "
        f"{rollout['state']}, stage {rollout['stage']} of {len(rollout['stages'])}, "
        f"{100 * rollout['share']:.0f} % of the fleet"
    ]
    lines += [f"    {name} since {at}" for name, at in rollout["entered"].items()]
    if rollout["now"]:
        lines.append(f"    {rollout['now']}")
    lines += [f"    {edge}: {why}" for edge, why in rollout["failed"].items()]
    lines += [f"    {reason}" for reason in rollout["reasons"]]
    return "\n".join(lines)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    health = one["health"] or {}
    version = (health.get("version_id") or "–")[:8]
    free = [health[k] for k in ("outbox_free_bytes", "state_free_bytes") if health.get(k)]
    celsius = health.get("cpu_celsius")
    return (
        one["edge"],
        one["state"],
        version if one["wanted"] in {None, health.get("version_id")} else f"{version} (old)",
        f"{_told_age(one['age_seconds'])} ago",
        f"{health.get('fps', 0.0):.1f}",
        f"{health.get('p99_ms', 0.0):.1f}",
        "–" if celsius is None else f"{celsius:.0f}",
        f"{health.get('hard_examples', 0)} of {health.get('frames', 0)}",
        _outbox(health),
        f"{min(free) / 2**30:.1f} GiB free" if free else "–",
    )


def _outbox(health: dict[str, Any]) -> str:
    told = f"{health.get('outbox_examples', 0)} ({health.get('outbox_bytes', 0) / 2**20:.1f} MiB"
    oldest_s = health.get("outbox_oldest_s")
    return f"{told})" if oldest_s is None else f"{told}, oldest {_told_age(oldest_s)})"


def _told_age(seconds: float) -> str:
    from cloud.fleet.edges import told_age

    return told_age(seconds)


def _detail(one: dict[str, Any]) -> str:
    lines = [f"{one['edge']}: {one['state']}, reported {_told_age(one['age_seconds'])} ago"]
    lines += [f"    {reason}" for reason in one["reasons"]]
    for key, value in (one["health"] or {}).items():
        lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines)
