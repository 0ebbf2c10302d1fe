"""Voice commands: only these phrases are heard, and each calls a function.

With `vocabulary` a stream hears nothing but the phrases; what else is said becomes "<unk>", at the
cost `unknown` for each, and is ignored. Without `unknown` the nearest phrase would be heard always.

python examples/voice_commands.py tests/data/speech/2902-9008-0016.mp3
python examples/voice_commands.py             listens to the microphone (ds2edge[mic]); Ctrl-C ends
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable

from ds2edge import Ds2edgeError, Final, Microphone, Partial, StreamOptions, Transcriber


class Room:
    """A toy."""

    def __init__(self) -> None:
        self.lights, self.door = 0, "closed"

    def switch(self, lights: int) -> None:
        self.lights = min(max(lights, 0), 100)

    def open_door(self) -> None:
        self.door = "open"

    def __str__(self) -> str:
        return f"lights {self.lights} %, door {self.door}"


room = Room()
COMMANDS: dict[str, Callable[[], None]] = {
    "lights on": lambda: room.switch(100),
    "lights off": lambda: room.switch(0),
    "a little brighter": lambda: room.switch(room.lights + 20),
    "a little darker": lambda: room.switch(room.lights - 20),
    "let him enter": room.open_door,
}
PHRASE = re.compile("|".join(rf"\b{phrase}\b" for phrase in COMMANDS))


def obey(events: Iterable[Partial | Final]) -> None:
    for event in events:
        if isinstance(event, Final):  # a partial may change, and nothing can be unsaid
            for phrase in PHRASE.findall(event.text):
                COMMANDS[phrase]()
                print(f"{phrase}: {room}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", nargs="?", help="[the microphone]")
    recording = parser.parse_args().recording

    options = StreamOptions(vocabulary=list(COMMANDS), unknown=5, silence_after=0.4)
    transcriber = Transcriber()
    if recording:
        obey(transcriber.transcribe(recording, options=options).segments)
    else:
        print("say: " + ", ".join(COMMANDS), file=sys.stderr, flush=True)
        with Microphone() as microphone:
            obey(transcriber.events(microphone, options=options))


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"voice_commands: {error}") from None
    except KeyboardInterrupt:
        pass  # how one stops to speak
