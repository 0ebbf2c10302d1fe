"""A recording to text, and its words with their times and confidence.

python examples/transcribe_file.py tests/data/speech/LJ001-0011.opus
"""

import argparse

from ds2edge import Ds2edgeError, Transcriber


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", help="WAV, FLAC, MP3, Ogg and others; any sample rate")
    arguments = parser.parse_args()

    transcript = Transcriber().transcribe(arguments.recording)
    print(transcript.text)
    for word in transcript.words:
        print(f"{word.start:7.2f} s to {word.end:6.2f} s  {word.confidence:4.0%}  {word.text}")


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:  # a line that says what was got and what is needed
        raise SystemExit(f"transcribe_file: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
