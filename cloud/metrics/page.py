"""`/metrics` put together: what a look tells, what the process measured, what the system says."""

from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cloud.metrics.fleet import fleet_metrics
from cloud.metrics.learning import learning_metrics
from cloud.metrics.loop import loop_metrics
from cloud.metrics.measures import Measures
from cloud.metrics.people import People
from cloud.metrics.service import Gauges, service_metrics
from cloud.monitor.look import Look
from cloud.monitor.readiness import Vitals
from lifelong.errors import LifelongError

_AT_NOBODYS_WISH = "_created"  # samples that prometheus_client adds; nothing of ours rests on them


class MetricsPage(Collector):
    """Everything that `cloud/metrics/catalogue.py` names, in the format that Prometheus reads."""

    def __init__(
        self,
        *,
        look: Callable[[], Look],
        trouble: Callable[[], str],
        vitals: Vitals,
        measures: Measures,
        gauges: Gauges,
        now: Callable[[], datetime],
    ) -> None:
        """
        Args:
            look: the newest look; raises a LifelongError where there is none.
            trouble: why rounds do not go on; "" when they do.
        """
        self._look, self._trouble, self._now = look, trouble, now
        self._vitals, self._measures, self._gauges = vitals, measures, gauges
        self._people = People()
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Family by family; before the first look, only what needs none."""
        now = self._now()
        standing = self._vitals.standing(self._look, self._trouble(), now)
        look = self._seen()
        yield from service_metrics(self._gauges, self._vitals, standing, look, now)
        for family in self._measures.registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith(_AT_NOBODYS_WISH)]
            yield family
        yield from self._process.collect()
        # Without a look there are no values, but the names are there.
        seen = look or Look(at=now)
        if look is None:
            yield from (_without_values(family) for family in self._of_look(seen))
        else:
            yield from self._of_look(seen)

    def _of_look(self, look: Look) -> Iterator[Metric]:
        yield from loop_metrics(look)
        yield from learning_metrics(look)
        yield from self._people.metrics(look)
        yield from fleet_metrics(look)

    def _seen(self) -> Look | None:
        try:
            return (self._vitals.peek or self._look)()
        except LifelongError:
            return None


def _without_values(family: Metric) -> Metric:
    family.samples = []
    return family
