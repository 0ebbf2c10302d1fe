"""What a server measures, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ds2edge.serving.metrics import BOUNDS, Histogram, Metrics
from ds2edge.serving.service import Service

EVERY = 4  # bound of a histogram is told: five to the decade
QUANTILES = (0.5, 0.9, 0.98)
# By name: of `Metrics`, and its meaning.
TIMES = {
    "queue": "from a chunk's arrival to the batch that takes it",
    "step": "a batch's features and acoustic model",
    "search": "a batch's search",
    "acoustic": "from a chunk's arrival to the end of its acoustic step",
    "text": "from a chunk's arrival to what it made of the text",
}
COUNTS = {
    "streams": ("streams_opened", "streams and files that began"),
    "finished": ("streams_finished", "streams and files that came to their end"),
    "dropped": ("streams_dropped", "streams and files that were closed before their end"),
    "failed": ("streams_failed", "streams and files that an error ended"),
    "taken": ("audio_taken_seconds", "audio that was accepted"),
    "transcribed": ("audio_transcribed_seconds", "audio of segments that have ended"),
}


class Exporter(Collector):
    """Tells what there is at the time it is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        service, metrics = self._service, self._service.dispatcher.metrics
        yield GaugeMetricFamily("ds2edge_streams", "open WebSockets", len(service.streams))
        yield GaugeMetricFamily("ds2edge_files", "uploads", len(service.files))
        for field, (name, told) in COUNTS.items():
            yield CounterMetricFamily(f"ds2edge_{name}", told, getattr(metrics, field))
        endings = CounterMetricFamily("ds2edge_endings", "closed WebSockets", labels=["code"])
        for code, count in list(service.endings.items()):
            endings.add_metric([code], count)
        yield endings
        requests = CounterMetricFamily(
            "ds2edge_requests", "answered requests", labels=["path", "status"]
        )
        for (path, status), count in list(service.answers.items()):
            requests.add_metric([path, str(status)], count)
        yield requests
        yield _batches(metrics)
        for field, told in TIMES.items():
            yield _times(f"ds2edge_{field}_seconds", told, getattr(metrics, field))
        yield _quantiles(metrics)


def _batches(metrics: Metrics) -> Metric:
    """How many batches there were up to each power of two."""
    batches = dict(metrics.batches)
    bounds = [2**i for i in range(max(batches, default=1).bit_length() + 1)]
    buckets = [
        (f"{bound:.1f}", float(sum(n for size, n in batches.items() if size <= bound)))
        for bound in bounds
    ]
    buckets.append(("+Inf", float(sum(batches.values()))))
    total = sum(size * count for size, count in batches.items())
    return HistogramMetricFamily(
        "ds2edge_batch_size", "steps of the model that were done together", buckets, total
    )


def _times(name: str, told: str, histogram: Histogram) -> Metric:
    below = list(accumulate(histogram.counts))
    told_bounds = list(zip(BOUNDS, below, strict=False))[::EVERY]
    buckets = [(f"{bound:.4g}", float(count)) for bound, count in told_bounds]
    buckets.append(("+Inf", float(below[-1])))
    return HistogramMetricFamily(name, told, buckets, histogram.sum)


def _quantiles(metrics: Metrics) -> Metric:
    """Of all times since the server began; rates of the histograms tell of the last minutes."""
    family = GaugeMetricFamily(
        "ds2edge_latency_seconds", "since the server began", labels=["of", "quantile"]
    )
    for field in ("queue", "step", "acoustic", "text"):
        for share in QUANTILES:
            found = getattr(metrics, field).quantile(share)
            family.add_metric([field, f"{share:g}"], found)
    return family
