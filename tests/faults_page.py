"""Faults of the server's page; see plant_faults.py. Their tests need Debian's chromium."""

from __future__ import annotations

from fault import Fault

PAGE, PARTS, FILES = "tests/test_page.py", "tests/test_page_parts.py", "tests/test_page_files.py"
CONNECTION = "tests/test_page_connection.py"
MODULES = "tests/test_page_modules.py"
FOLDER = "ds2edge/serving/page"

PAGE_FAULTS = (
    Fault(
        "blocks of the microphone overlap",
        f"{FOLDER}/recorder.js",
        "    this.#count = this.#peak = 0;\n",
        "    this.#count = 64;\n    this.#peak = 0;\n",
        (PAGE, "-k", "as_they_are_spoken"),
    ),
    Fault(
        "what may change looks final",
        f"{FOLDER}/take.js",
        'i < stable ? "word"',
        'i < words.length ? "word"',
        (PARTS, "-k", "tinted"),
    ),
    Fault(
        "lost sound is not sent again",
        f"{FOLDER}/stream.js",
        "[this.#origin, this.#sent, this.#said] = [this.#done, 0,",
        "[this.#origin, this.#sent, this.#said] = [this.#done, this.#sent,",
        (CONNECTION, "-k", "lost_with_the_connection and cut"),
    ),
    Fault(
        "sound that became text is sent again",
        f"{FOLDER}/stream.js",
        "(block) => from(block, this.#done)",
        "(block) => block",
        (MODULES, "-k", "no_text_yet"),
    ),
    Fault(
        "words vanish with the connection",
        f"{FOLDER}/transcript.js",
        "    else if (!this.#interrupted || ",
        "    else if (true || ",
        (MODULES, "-k", "kept_until"),
    ),
    Fault(
        "a wrong token is sent for ever",
        f"{FOLDER}/token.js",
        "    this.#form.hidden = false;\n",
        "",
        (PARTS, "-k", "needs_the_token"),
    ),
    Fault(
        "spaces between Chinese characters",
        f"{FOLDER}/text.js",
        '? "" : " "',
        '? " " : " "',
        (PARTS, "-k", "chinese"),
    ),
    Fault(
        "a Chinese character is as wide as a letter",
        f"{FOLDER}/text.js",
        "? 2 : 1",
        "? 1 : 1",
        (MODULES, "-k", "subtitles"),
    ),
    Fault(
        "subtitles overlap",
        f"{FOLDER}/subtitles.js",
        "start + LONGEST, next);",
        "start + LONGEST);",
        (MODULES, "-k", "subtitles"),
    ),
    Fault(
        "the page's subtitles break anywhere",
        f"{FOLDER}/subtitles.js",
        "grade * Math.max(0,",
        "0 * Math.max(0,",
        (MODULES, "-k", "library"),
    ),
    Fault(
        "blocks that came late count",
        f"{FOLDER}/clock.js",
        "Math.min(...this.#starts)",
        "this.#starts.at(-1)",
        (MODULES, "-k", "clock"),
    ),
    Fault(
        "buttons too small for a finger",
        f"{FOLDER}/page.css",
        "min-height: 2.75rem;",
        "min-height: 2rem;",
        (PARTS, "-k", "fits"),
    ),
    Fault(
        "grey that is too faint",
        f"{FOLDER}/page.css",
        "  --quiet: #5b6472;",
        "  --quiet: #8b9098;",
        (PARTS, "-k", "can_be_read"),
    ),
    Fault(
        "a script inside the page",
        f"{FOLDER}/index.html",
        "</body>",
        "<script>document.title += '!'</script></body>",
        (FILES, "-k", "inline"),
    ),
)
