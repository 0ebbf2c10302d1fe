"""benchmarks/serving*.py: its arithmetic, what it refuses to tell, and that it measures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from contract_inputs import RATE, finals_of, recorded
from hypothesis import given
from hypothesis import strategies as st

from ds2edge import Transcriber
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.metrics import BOUNDS, Histogram, Metrics

pytest.importorskip("websockets")
pytestmark = pytest.mark.usefixtures("benchmark_scripts")

UPPER = (*BOUNDS, math.inf)
TIMES = st.lists(st.floats(1.2e-4, 9.0), min_size=1, max_size=200)


@pytest.fixture(scope="module")
def figures(benchmark_scripts: None) -> ModuleType:
    return import_module("serving_figures")


@pytest.fixture(scope="module")
def speech(benchmark_scripts: None) -> ModuleType:
    return import_module("serving_speech")


def histogram_of(times: Sequence[float]) -> Any:
    found = Histogram()
    for each in times:
        found.observe(each)
    return import_module("serving_figures").Times(UPPER, tuple(found.counts))


def row(
    streams: int = 10,
    acoustic: Sequence[float] = (0.05,),
    offered: float = 10.0,
    transcribed: float = 10.0,
    **heard: Any,
) -> Any:
    figures = import_module("serving_figures")
    found = figures.Snapshot(acoustic=histogram_of(acoustic), batches={1: 3, 4: 1}, steps=7)
    return figures.Row(
        "eager",
        streams,
        figures.Reading(10.0, found, server=15.0, clients=2.5),
        figures.Heard(offered=offered, transcribed=transcribed, **heard),
    )


# ---- histograms


@given(times=TIMES, share=st.sampled_from([0.02, 0.5, 0.98, 1.0]))
def test_a_quantile_is_in_the_bin_of_the_time_that_it_is(times: list[float], share: float) -> None:
    exact = sorted(times)[math.ceil(share * len(times) - 1e-9) - 1]
    found = histogram_of(times).quantile(share)
    assert exact / 1.13 <= found <= exact * 1.13


def test_a_quantile_of_nothing_is_no_number(figures: ModuleType) -> None:
    assert math.isnan(figures.Times(UPPER, (0,) * len(UPPER)).quantile(0.5))
    assert math.isnan(figures.Times().quantile(0.5))
    assert histogram_of([100.0]).quantile(0.98) == math.inf


def test_a_quantile_lies_between_the_bounds_of_its_bin(figures: ModuleType) -> None:
    times = figures.Times((0.01, 0.1, math.inf), (0, 100, 0))
    assert times.quantile(1.0) == pytest.approx(0.1)
    assert times.quantile(0.5) == pytest.approx(0.01 * math.sqrt(10))
    assert figures.Times((0.01, math.inf), (10, 0)).quantile(0.5) == pytest.approx(0.005)


@given(times=TIMES)
def test_the_share_up_to_a_bound_is_exact(times: list[float]) -> None:
    within = sum(each <= 0.1 for each in times) / len(times)
    assert histogram_of(times).share_up_to(0.1) == pytest.approx(within)


def test_a_share_up_to_what_is_no_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="no bound"):
        histogram_of([0.1]).share_up_to(0.11)


def test_what_was_before_the_window_does_not_count(figures: ModuleType) -> None:
    metrics = Metrics()
    metrics.acoustic.observe(5.0)
    metrics.batches[32] += 1
    before = figures.snapshot(metrics, BOUNDS)
    for _ in range(9):
        metrics.acoustic.observe(0.02)
    metrics.batches.update([3, 3, 32])
    metrics.taken += 7.5
    found = figures.snapshot(metrics, BOUNDS) - before
    assert found.acoustic.count == 9
    assert found.acoustic.quantile(1.0) < 0.023
    assert found.batches == {3: 2, 32: 1}
    assert found.steps == 3 + 3 + 32
    assert found.taken == 7.5


def test_a_server_that_began_anew_is_found_out() -> None:
    with pytest.raises(ValueError, match="lost"):
        histogram_of([0.1]) - histogram_of([0.1, 0.1])


def test_batches_by_their_size(figures: ModuleType) -> None:
    batches = {1: 5, 2: 2, 4: 1, 5: 1, 40: 1}
    assert figures.shares(batches, (1, 2, 5, 33)) == [0.5, 0.3, 0.1, 0.1]
    assert row().mean_batch == pytest.approx(7 / 4)


# ---- what is sustained, and what is not told


def test_a_row_is_sustained_where_all_is_well() -> None:
    assert row().is_sustained
    assert row(acoustic=[0.09] * 98 + [0.5] * 2).is_sustained
    assert not row(acoustic=[0.09] * 97 + [0.5] * 3).is_sustained
    assert not row(acoustic=[]).is_sustained
    assert not row(late=0.021).is_sustained


@pytest.mark.parametrize(
    "fault", [{"wrong": 1}, {"unfinished": 1}, {"transcribed": 9.9}, {"transcribed": 10.1}]
)
def test_a_second_or_a_word_that_is_lost_is_not_sustained(fault: dict[str, Any]) -> None:
    assert not row(**fault).is_complete
    assert not row(**fault).is_sustained


def test_more_than_what_failed_does_not_count(figures: ModuleType) -> None:
    rows = [row(10), row(20, acoustic=[0.5]), row(30)]
    assert figures.most_sustained(rows) == 10
    assert figures.most_sustained(rows[1:]) == 0
    assert figures.most_sustained([]) == 0


def test_the_search_between_two_numbers_ends_at_the_largest(figures: ModuleType) -> None:
    for limit in (100, 104, 137, 149):
        rows = [row(100), row(150, acoustic=[0.5])]
        while streams := figures.next_between(rows, 10):
            assert 100 < streams < 150
            assert streams % 10 == 0
            rows.append(row(streams, acoustic=[0.05 if streams <= limit else 0.5]))
        assert figures.most_sustained(rows) == limit // 10 * 10
    assert figures.next_between([row(100)], 10) is None


def test_of_late_clients_nothing_is_told_of_the_server() -> None:
    report = import_module("serving_report")
    told = report.markdown(row(late=0.03), report.SERVER)
    assert "30" in told
    assert "50" not in told
    assert told.count("|") == report.header(report.SERVER)[0].count("|")
    right = report.markdown(row(), report.SERVER)
    assert "75 / 25 / 0 / 0 / 0 / 0" in right  # batches
    assert "| 150 | 25 |" in right  # processors
    assert "| 10.00 | 10.00 | all |" in right


def test_the_paper_stands_beside() -> None:
    report = import_module("serving_report")
    _, cells = report.beside_paper([row(20), row(100, acoustic=[0.2])])
    assert [each[0] for each in cells] == ["10", "20", "30", "100"]
    assert cells[1][2] == "48 / 86"
    assert cells[0][1] == cells[3][2] == "-"


def test_the_plot_is_drawn(tmp_path: Any) -> None:
    import_module("serving_report").draw([row(10), row(20)], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_prometheus_text_becomes_a_snapshot() -> None:
    server = import_module("serving_server")
    lines = []
    for name in server.HISTOGRAMS.values():
        lines += [f"# TYPE {name} histogram", f'{name}_bucket{{le="0.1"}} 3']
        lines += [f'{name}_bucket{{le="+Inf"}} 4', f"{name}_count 4", f"{name}_sum 1"]
    lines += [f"# TYPE {server.BATCHES} histogram", f'{server.BATCHES}_bucket{{le="1.0"}} 2']
    lines += [f'{server.BATCHES}_bucket{{le="2.0"}} 7', f'{server.BATCHES}_bucket{{le="+Inf"}} 7']
    lines += [f"{server.BATCHES}_count 7", f"{server.BATCHES}_sum 9"]
    total = server.TAKEN
    lines += [f"# TYPE {total} counter", f"{total} 12.5", ""]
    found = server.parse_metrics("\n".join(lines))
    assert found.acoustic.counts == (3, 1)
    assert found.batches == {1: 2, 2: 5}
    assert found.steps == 9
    assert found.taken == 12.5


# ---- what clients say


def test_recordings_become_whole_chunks_without_loss(speech: ModuleType) -> None:
    samples = recorded(0)[:2000].astype(np.float32) / 2**15
    chunks = speech.in_chunks(samples)
    assert chunks.shape == (2, 1280)
    np.testing.assert_array_equal(chunks.reshape(-1)[:2000], recorded(0)[:2000])
    assert not chunks.reshape(-1)[2000:].any()
    assert speech.in_chunks(np.array([1.0, -1.0], np.float32))[0, :2].tolist() == [32767, -32768]


def test_tracks_have_all_recordings_in_orders_of_their_own(speech: ModuleType) -> None:
    recordings = [np.full((n, 1280), n, np.int16) for n in (3, 5, 7)]
    tracks = speech.tracks(recordings, 6, 200)
    assert tracks.shape == (6, 200, 1280)
    assert len({track.tobytes() for track in tracks}) > 2
    for track in tracks:
        first = track[:, 0].tolist()
        once = first[: 15 + 3 * max(speech.PAUSES)]
        assert {3, 5, 7} <= set(once)
    assert (speech.tracks(recordings, 6, 200) == tracks).all()


def test_clients_begin_at_different_moments(speech: ModuleType) -> None:
    begins = sorted(speech.stagger(i) for i in range(100))
    assert 0 <= begins[0] < begins[-1] < speech.STAGGER
    assert max(np.diff(begins)) < 3 * speech.STAGGER / 100


def test_frames_hold_the_samples() -> None:
    from websockets.protocol import OPEN
    from websockets.server import ServerProtocol

    client = import_module("serving_client")
    samples = np.arange(2560, dtype=np.int16).reshape(2, 1280)
    receiver = ServerProtocol(state=OPEN)
    receiver.receive_data(b"".join(client.frames_of(samples)))
    found = [bytes(event.data) for event in receiver.events_received()]
    assert found == [chunk.astype("<i2").tobytes() for chunk in samples]


def test_processes_share_all_clients() -> None:
    processes = import_module("serving_processes")
    shared = [list(some) for some in processes.shared_out(250)]
    assert [len(some) for some in shared] == [100, 100, 50]
    assert [each for some in shared for each in some] == list(range(250))


# ---- ways of batching


@pytest.fixture
def ways() -> Iterator[ModuleType]:
    module = import_module("serving_ways")
    yield module
    module.use(module.EAGER)


def test_a_timer_lets_a_chunk_wait_and_says_the_same(
    transcriber: Transcriber, ways: ModuleType
) -> None:
    waited = {}
    for way in (ways.EAGER, ways.TIMED):
        ways.use(way)
        with Dispatcher(transcriber) as dispatcher, dispatcher.stream(RATE) as stream:
            for chunk in np.split(recorded(0), range(1280, 12800, 1280)):
                stream.push(chunk)
                time.sleep(0.02)
            stream.finish()
            finals = finals_of(stream)
            waited[way] = dispatcher.metrics.queue.quantile(0.1)
        assert tuple(finals) == transcriber.transcribe(recorded(0), RATE).segments
    assert waited[ways.TIMED] >= ways.TIMER
    assert ways.largest_batch(ways.ALONE, 32) == 1
    assert ways.largest_batch(ways.TIMED, 32) == 32


# ---- the soak


def test_memory_that_grows_is_told_and_memory_that_warms_up_is_not() -> None:
    soak = import_module("serving_soak")

    def looks(resident: Sequence[float]) -> list[Any]:
        empty = import_module("serving_figures").Snapshot()
        return [soak.Look(i, one, 9, 9, 9, empty) for i, one in enumerate(resident)]

    warm = [100.0 + 30 * min(1, i / 10) for i in range(40)]
    assert list(soak.grown(looks(warm))) == []
    assert "grown" in next(soak.grown(looks([100.0 + i for i in range(40)])))
    assert "short" in next(soak.grown(looks([100.0])))


def test_clients_that_came_out_wrong_are_told() -> None:
    soak, conduct = import_module("serving_soak"), import_module("serving_conduct")
    right = {(kind, conduct.RIGHT): 3 for kind in conduct.CONDUCTS}
    right["talks nonsense", f"closed with 4400, {conduct.DOCUMENTED}"] = 1
    assert list(soak.wrong(right)) == []
    bad = {**right, ("speaks", "of other text"): 2, ("vanishes", "closed with 1011, not [4]"): 1}
    assert len(list(soak.wrong(bad))) == 2
    assert "too short" in next(soak.wrong({("speaks", conduct.RIGHT): 1}))
    deaf = {("speaks", conduct.RIGHT): 3, (conduct.DEAF, "closed with 1006, as documented"): 2}
    assert list(soak.unread(deaf, dropped=2)) == []
    assert "3 clients were dropped" in next(soak.unread(deaf, dropped=3))


def test_recordings_are_at_hand() -> None:
    speech = import_module("serving_speech")
    found = speech.read_speech(speech.MANIFEST, None, 1000.0)
    assert len(found) == len(RECORDINGS)
    assert len(speech.read_speech(speech.MANIFEST, None, 5.0)) < len(RECORDINGS)
