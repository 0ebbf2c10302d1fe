"""What a conversion says for people: the parity table and the model card."""

from __future__ import annotations

from typing import Any

from ds2edge.bundle import Manifest
from ds2edge.training.evaluation.recognised import with_interval

ROWS = {
    "model": "Keras model, float32",
    "float32": "step graph, float32",
    "int8": "step graph, int8",
}


def parity_table(manifest: Manifest) -> str:
    """Markdown: how far each form is from the checkpoint's model, and its error rates."""
    lines = [
        "| | largest difference of log p | mean | of p | same best token | WER % greedy | "
        "WER % with LM |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, name in ROWS.items():
        if row := manifest.parity.get(key):
            lines.append("| " + " | ".join([name, *_differences(row), *_error_rates(row)]) + " |")
    return "\n".join(lines)


def model_card(manifest: Manifest, notes: str, command: str) -> str:
    """The model card, Markdown."""
    config = manifest.training["config"]
    model, history = config["model"], manifest.training["history"]
    norm = "without batch norm" if model["norm"] == "none" else "with sequence-wise batch norm"
    sections = [
        f"# {manifest.name}",
        f"Deep Speech 2 in its deployed form: causal convolutions, forward GRU {norm}, row "
        "convolution, CTC. Made by ds2edge.",
        "## Model",
        f"- {len(model['convolutions'])} convolutions, {model['layers']} GRU layers of "
        f"{model['units']}, look-ahead {model['look_ahead']} steps of "
        f"{1000 * manifest.grid.time_stride / manifest.features.frame_rate:.0f} ms\n"
        f"- {len(manifest.tokens)} tokens; {manifest.features.bins} {manifest.features.kind} "
        f"bins up to {manifest.features.high:.0f} Hz",
        "## Training",
        _training(config, history),
        notes.strip(),
        "## Accuracy",
        _accuracy(manifest),
        "## Language model",
        _language_model(manifest),
        "## Conversion",
        parity_table(manifest),
        _label_prior(manifest),
        f"Made with\n\n    {command}" if command else "",
        f"Licence of the weights: {manifest.licence}" if manifest.licence else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _label_prior(manifest: Manifest) -> str:
    weight = manifest.training.get("prior_weight")
    if not weight:
        return ""
    return f"The bias of the output layer divides {weight:g} of the label prior out."


def _differences(row: dict[str, Any]) -> list[str]:
    if "largest" not in row:
        return ["-"] * 4
    return [
        f"{row['largest']:.2g}",
        f"{row['mean']:.2g}",
        f"{row['largest_probability']:.2g}",
        f"{100 * row['same_best']:.2f} %",
    ]


def _error_rates(row: dict[str, Any]) -> list[str]:
    ways = ("greedy", "language_model")
    return [f"{row[way]['wer']:.2f}" if way in row else "-" for way in ways]


def _training(config: dict[str, Any], history: list[dict[str, Any]]) -> str:
    corpora = ", ".join(
        corpus["folder"] + (f" ({corpus['repeat']} times)" if corpus["repeat"] > 1 else "")
        for corpus in config["data"]["train"]
    )
    text = f"Split `train` of: {corpora}. Configuration `{config['name']}`, seed "
    text += f"{config['optimizer']['seed']}."
    if history:
        hours = sum(epoch["seconds"] for epoch in history) / 3600
        last = history[-1]
        text += (
            f" {last['epoch']} epochs in {hours:.1f} hours; dev CER after the last one, best path "
            f"and averaged weights: {100 * last['dev_cer']:.1f} %."
        )
    return text


def _accuracy(manifest: Manifest) -> str:
    figures = manifest.accuracy.get("test")
    if not figures:
        return "Not measured."
    lines = [
        f"{figures['utterances']} utterances of the test split, int8, streaming:",
        "",
        "| | WER % | CER % |",
        "|---|---|---|",
        *(
            f"| {name} | {with_interval(figures[way], 'wer')} | "
            f"{with_interval(figures[way], 'cer')} |"
            for way, name in (("greedy", "greedy"), ("language_model", "with the language model"))
        ),
        "",
        "In brackets: 95 % intervals, from bootstrap samples of the utterances.",
    ]
    return "\n".join(lines)


def _language_model(manifest: Manifest) -> str:
    model, options = manifest.language_model, manifest.decoder
    if not model:
        return "None: any sequence of letters is possible."
    return (
        f"{model['order']}-gram of {model['words']} words from {', '.join(model['sources'])} "
        f"({model['text_words']} words of text). Decoder: beam {options.beam}, "
        f"alpha {options.alpha}, beta {options.beta}."
    )
