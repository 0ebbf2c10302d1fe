"""Many recordings at once: one Transcriber, a pool of threads, results in order.

A Transcriber is shared between threads; each recording has a stream of its own. The work is done
outside of Python's lock, so threads are enough.

python examples/many_streams.py tests/data/speech/*.mp3
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from ds2edge import Ds2edgeError, Transcriber


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="[one for each core]")
    arguments = parser.parse_args()

    transcriber = Transcriber()
    audio, start = 0.0, time.perf_counter()
    with ThreadPoolExecutor(arguments.threads) as pool:
        transcripts = pool.map(transcriber.transcribe, arguments.recordings)
        for recording, transcript in zip(arguments.recordings, transcripts, strict=True):
            print(f"{recording}: {transcript.text}", flush=True)
            audio += transcript.duration
    rate = audio / (time.perf_counter() - start)
    print(f"{audio:.1f} s of audio, {rate:.0f} s of it a second", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ValueError) as error:  # ValueError: no threads
        raise SystemExit(f"many_streams: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
