"""Live text from a microphone: segments that ended scroll, in the last line all may still change.

A microphone that is unplugged is awaited; what was said until then is shown. Ctrl-C ends.

pip install 'ds2edge[mic]'
python examples/microphone.py
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterable

from ds2edge import Ds2edgeError, Final, Microphone, Partial, Transcriber

LIVE = sys.stdout.isatty()  # a file gets only the segments that ended
CLEAR = "\r\033[K" if LIVE else ""  # the line is written anew


def show(events: Iterable[Partial | Final]) -> None:
    for event in events:
        if isinstance(event, Final):
            print(CLEAR + event.text, end="\n" if event.words else "", flush=True)
        elif LIVE:
            room = shutil.get_terminal_size().columns - 1
            print(CLEAR + event.text[-room:], end="", flush=True)


def listen(transcriber: Transcriber, microphone: Microphone) -> None:
    """Show what is said, until the microphone is gone."""
    with microphone, transcriber.stream(microphone.sample_rate) as stream:
        print(f"listening to {microphone.device_name}", file=sys.stderr, flush=True)
        try:
            for block in microphone:
                show(stream.feed(block))
        finally:  # also after Ctrl-C: the last words are not lost
            show(stream.finish())


def wait_for(device: int | str | None) -> Microphone:
    while True:
        time.sleep(1)
        try:
            return Microphone(device)
        except Ds2edgeError:  # not there yet
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device", nargs="?", help="a name or number of `ds2edge devices`")
    name = parser.parse_args().device
    device = int(name) if name and name.isdecimal() else name

    transcriber = Transcriber()
    microphone = Microphone(device)  # where there is none from the beginning, that is an error
    while True:
        try:
            listen(transcriber, microphone)
        except Ds2edgeError as error:
            print(f"{error}; waiting for it", file=sys.stderr, flush=True)
            microphone = wait_for(device)


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"microphone: {error}") from None
    except KeyboardInterrupt:
        pass  # how one stops to speak
