"""`ds2edge bundle`: look into a bundle, verify it, pack it again, change its language model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS
from ds2edge.backends import load_backend, usable_backends
from ds2edge.bundle import Artefact, Bundle, load_bundle
from ds2edge.bundle_tools import read_lexicon, repack, swap_language_model
from ds2edge.commands.bundle_facts import bundle_facts, print_facts
from ds2edge.decoder import unknown_words
from ds2edge.errors import BackendError, BundleError, ConfigError
from ds2edge.language_model import LanguageModel, language_model_of, open_language_model
from ds2edge.options import BackendOptions
from ds2edge.pipeline import load_decoder

EXAMPLES = """\
examples:
  ds2edge bundle show my-model.ds2
  ds2edge bundle verify my-model.ds2
  ds2edge bundle repack my-model -o my-model.ds2
  ds2edge bundle swap-lm en -o mine.ds2 --language-model lm-mine
"""
SHOW_EXAMPLES = """\
examples:
  ds2edge bundle show en
  ds2edge bundle show --json my-model.ds2 | jq .accuracy
"""
VERIFY_EXAMPLES = """\
examples:
  ds2edge bundle verify my-model.ds2
"""
REPACK_EXAMPLES = """\
examples:
  ds2edge bundle repack my-model -o my-model.ds2
      a folder as one file; the same bundle always gives the same bytes
  ds2edge bundle repack my-model.ds2 -o my-model
      a file as a folder
  ds2edge bundle repack my-model.ds2 -o small.ds2 --formats int8
      only what LiteRT runs fastest
"""
SWAP_EXAMPLES = """\
examples:
  ds2edge bundle swap-lm en -o mine.ds2 --language-model lm-mine
      words of your own, from the folder that `ds2edge lm` made
  ds2edge bundle swap-lm en -o few.ds2 --lexicon words.txt
      only some of the words that the language model knows
  ds2edge bundle swap-lm en -o letters.ds2 --no-language-model
  ds2edge bundle swap-lm en -o fast.ds2 --beam 32 --alpha 0.8
      another search, with the language model as it is
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "bundle",
        help="show, verify, repack a model bundle, or change its language model",
        description="Work on model bundles without what trained them.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = _add(actions, "show", _show, "show what is in a bundle", SHOW_EXAMPLES)
    show.add_argument("--json", action="store_true", help="one line of JSON")
    _add(
        *(actions, "verify", _verify),
        "check every member, and run every artefact that can be run here",
        VERIFY_EXAMPLES,
    )
    _add_repack(actions)
    _add_swap(actions)


def _add_repack(actions: Any) -> None:
    parser = _add(
        *(actions, "repack", _repack), "write a bundle as a folder or a .ds2 file", REPACK_EXAMPLES
    )
    _add_out(parser)
    parser.add_argument(
        "--formats",
        type=lambda text: text.split(","),
        default=[],
        metavar="A,B",
        help="of the weights, as `show` lists them: the artefacts to keep [all]",
    )
    parser.add_argument("--name", default="", help="for people to read [as it is]")


def _add_swap(actions: Any) -> None:
    parser = _add(
        *(actions, "swap-lm", _swap),
        "change language model, lexicon or decoder weights",
        SWAP_EXAMPLES,
    )
    _add_out(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--language-model",
        type=Path,
        metavar="FOLDER",
        help="of `ds2edge lm`, with its lexicon [the bundle's own]",
    )
    which.add_argument(
        "--no-language-model", action="store_true", help="neither language model nor lexicon"
    )
    parser.add_argument(
        "--lexicon",
        type=Path,
        metavar="FILE",
        help="the words that can be heard, one a line [those of the language model]",
    )
    own = "[the bundle's own]"
    parser.add_argument("--alpha", type=float, help=f"weight of the language model {own}")
    parser.add_argument("--beta", type=float, help=f"added for each word {own}")
    parser.add_argument("--beam", type=int, help=f"hypotheses kept {own}")
    parser.add_argument(
        "--max-ambiguity",
        type=int,
        help=f"outputs after which what is not certain is committed to the best {own}",
    )


def _add(
    actions: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    does: str,
    examples: str,
) -> argparse.ArgumentParser:
    description = f"{does[0].upper()}{does[1:]}."
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=does, description=description, epilog=examples
    )
    parser.add_argument("bundle", help="folder or .ds2 file; en: the embedded one")
    parser.set_defaults(run=run)
    return parser


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder, or FILE.ds2")


def _show(arguments: argparse.Namespace) -> int:
    facts = bundle_facts(load_bundle(arguments.bundle))
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print_facts(facts)
    return SUCCESS


def _verify(arguments: argparse.Namespace) -> int:
    bundle = load_bundle(arguments.bundle)
    manifest = bundle.manifest
    print(f"{len(manifest.members)} members: sizes and SHA-256 as in the manifest")
    decoder = load_decoder(bundle)
    words, model = bundle.words, bundle.language_model
    print(
        f"{len(decoder.tokens)} tokens, "
        f"{'no lexicon' if words is None else f'lexicon of {len(words)} words'}, "
        f"{'language model' if model else 'no language model'}: they belong together"
    )
    if model and words is not None and (lacking := unknown_words(words, model)):
        print(f"{len(lacking)} of the words are unknown to the language model, {lacking[0]} say")
    ran = [_verify_artefact(bundle, artefact) for artefact in manifest.artefacts]
    if not any(ran):
        load_backend(bundle)  # says what is missing
    print(f"{arguments.bundle}: whole")
    return SUCCESS


def _verify_artefact(bundle: Bundle, artefact: Artefact) -> bool:
    """Run one in each runtime here that can. Returns: whether there is one."""
    alone = replace(bundle, manifest=replace(bundle.manifest, artefacts=(artefact,)))
    names = usable_backends()
    for name in names:
        options: dict[str, Any] = {"backend": name, "device": "cpu"}
        try:
            loaded = load_backend(alone, BackendOptions(**options))
        except (BackendError, BundleError) as error:
            raise BundleError(f"{artefact.file} fails in {name}: {error}") from None
        print(
            f"{artefact.file}, {artefact.weights}, {loaded.backend.description}: off by "
            f"{loaded.error:.2g} nats, allowed {artefact.tolerance:g}"
        )
    if not names:
        print(f"{artefact.file}, {artefact.weights}: not run, no runtime here is made for it")
    return bool(names)


def _repack(arguments: argparse.Namespace) -> int:
    repack(load_bundle(arguments.bundle), arguments.out, arguments.formats, arguments.name)
    return _tell(arguments.out)


def _swap(arguments: argparse.Namespace) -> int:
    bundle = load_bundle(arguments.bundle)
    names = ("alpha", "beta", "beam", "max_ambiguity")
    changes = {n: value for n in names if (value := getattr(arguments, n)) is not None}
    others = (arguments.language_model, arguments.no_language_model, arguments.lexicon)
    if not changes and not any(others):
        raise ConfigError(
            "nothing to change: needed --language-model, --no-language-model, --lexicon, --alpha, "
            "--beta, --beam or --max-ambiguity"
        )
    model, words = _language(bundle, arguments)
    search = replace(bundle.manifest.decoder, **changes)
    swap_language_model(bundle, arguments.out, model, words, search)
    if arguments.language_model and not {"alpha", "beta"} <= changes.keys():
        print(
            f"alpha {search.alpha:g} and beta {search.beta:g} are from before; "
            "ds2edge tune finds those of fewest errors"
        )
    return _tell(arguments.out)


def _language(
    bundle: Bundle, arguments: argparse.Namespace
) -> tuple[LanguageModel | None, Sequence[str] | None]:
    """Language model and lexicon that the flags ask for."""
    model, words = language_model_of(bundle), bundle.words
    if arguments.language_model:
        model = open_language_model(arguments.language_model)
        words = model.words
    elif arguments.no_language_model:
        model = words = None
    return model, read_lexicon(arguments.lexicon) if arguments.lexicon else words


def _tell(out: Path) -> int:
    files = [out] if out.is_file() else list(out.iterdir())
    print(f"{out}: {sum(file.stat().st_size for file in files) / 1e6:.2f} MB")
    return SUCCESS
