"""Telemetry that is kept in memory, and how tests read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langroute.telemetry import instrument

__all__ = ["Kept", "kept_telemetry"]


@dataclass
class Kept:
    """What was exported."""

    tracers: TracerProvider
    meters: MeterProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    _said: Any = field(default=None)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def steps(self) -> list[ReadableSpan]:
        """The spans of steps, in the order in which they ended."""
        return [span for span in self.spans if "langroute.policy" in (span.attributes or {})]

    @property
    def attempts(self) -> list[ReadableSpan]:
        """The spans of attempts, in the order in which they were made."""
        return [span for span in self.spans if "langroute.attempt" in (span.attributes or {})]

    def metrics(self) -> Any:
        """Return everything measured so far."""
        self._said = self.reader.get_metrics_data() or self._said
        return self._said

    def points(self, name: str) -> list[Any]:
        found = [
            metric
            for resource in self.metrics().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return [point for metric in found for point in metric.data.data_points]

    def total(self, name: str, **where: Any) -> float:
        """Return the sum of a metric over the points whose attributes end in the names given."""
        points = [
            point
            for point in self.points(name)
            if all(
                any(key.endswith(f".{end}") and value == wanted for key, value in point.attributes.items())
                for end, wanted in where.items()
            )
        ]
        return sum(point.sum if hasattr(point, "sum") else point.value for point in points)


@contextmanager
def kept_telemetry() -> Iterator[Kept]:
    """Switch telemetry on, with exporters that keep everything in memory."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([reader], shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    with instrument(tracers, meters):
        yield Kept(tracers, meters, exporter, reader)
    tracers.shutdown()
    meters.shutdown()
