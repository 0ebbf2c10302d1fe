"""What a conversion says for people: the tables, the plot and the model card."""

from __future__ import annotations

import io
from typing import Any

from ds2edge.bundle import PLOT, Manifest
from ds2edge.training.evaluation.recognised import with_interval

ROWS = {
    "model": "checkpoint",
    "fp32": "float32",
    "fp16": "float16 weights",
    "int8": "int8 weights",
    "int8-static": "int8 weights and activations",
    "float32": "float32",  # of bundles of format 2
}


def parity_table(manifest: Manifest) -> str:
    """Markdown: how far each artefact is from the checkpoint's model, and its error rates."""
    lines = [
        "| | largest difference of log p | mean | of p | same best token | WER % greedy | "
        "WER % with LM | more than the checkpoint |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, name in ROWS.items():
        if row := manifest.parity.get(key):
            cells = [name, *_differences(row), *_error_rates(row), _more_errors(row)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def formats_table(manifest: Manifest) -> str:
    """Markdown: what each artefact costs, on one thread of LiteRT's CompiledModel."""
    lines = [
        "| | MB | real-time factor | resident MB | to the first output, ms |",
        "|---|---|---|---|---|",
    ]
    for key, row in _measured(manifest).items():
        resident = row["resident_megabytes"]
        lines.append(
            f"| {ROWS[key]} | {row['megabytes']:.2f} | {row['real_time_factor']:.4f} | "
            f"{'-' if resident is None else f'{resident:.0f}'} | "
            f"{1000 * row['first_output_seconds']:.0f} |"
        )
    return "\n".join(lines)


def formats_plot(manifest: Manifest) -> bytes:
    """A PNG: size, real-time factor, memory and error of the artefacts side by side."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from ds2edge.training.plots import ACCENT, INK, SETTINGS

    rows = _measured(manifest)
    panels: dict[str, list[float]] = {
        "MB": [row["megabytes"] for row in rows.values()],
        "real-time factor": [row["real_time_factor"] for row in rows.values()],
        "resident MB": [row["resident_megabytes"] or 0.0 for row in rows.values()],
        "mean difference of log p": [row["mean"] for row in rows.values()],
    }
    if all("language_model" in row for row in rows.values()):
        panels["WER % with LM"] = [row["language_model"]["wer"] for row in rows.values()]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(2.4 * len(panels), 0.5 + 0.4 * len(rows)), layout="constrained")
        for axes, (title, values) in zip(
            figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
        ):
            bars = axes.barh(
                list(rows), values, color=[ACCENT if v == min(values) else INK for v in values]
            )
            axes.bar_label(bars, fmt="%.3g", padding=2)
            axes.set_xlim(0, 1.3 * max(values) or 1.0)
            axes.set_title(title, fontsize=9)
            axes.set_xticks([])
        axes.invert_yaxis()  # of all, which share it: the first row on top
        file = io.BytesIO()
        figure.savefig(file, dpi=120, metadata={"Software": None})
    return file.getvalue()


def _measured(manifest: Manifest) -> dict[str, dict[str, Any]]:
    rows = {key: manifest.parity.get(key, {}) for key in ROWS}
    return {key: row for key, row in rows.items() if "megabytes" in row}


def _more_errors(row: dict[str, Any]) -> str:
    if not (ways := row.get("more_errors")):
        return "-"
    more = list(ways.values())[-1]
    low, high = more["interval"] or ("?", "?")
    return f"{more['points']:+.2f} ({low} to {high})"


def model_card(manifest: Manifest, notes: str, command: str) -> str:
    """The model card, Markdown."""
    config = manifest.training["config"]
    model, history = config["model"], manifest.training["history"]
    sections = [
        f"# {manifest.name}",
        _form(model),
        "## Model",
        f"- {len(model['convolutions'])} convolutions, {model['layers']} recurrent layers of "
        f"{model['units']}, look-ahead {manifest.grid.look_ahead} steps of "
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
        _formats(manifest),
        _label_prior(manifest),
        f"Made with\n\n    {command}" if command else "",
        f"Licence of the weights: {manifest.licence}" if manifest.licence else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _form(model: dict[str, Any]) -> str:
    norm = "without batch norm" if model["norm"] == "none" else "with sequence-wise batch norm"
    unit = "GRU" if model.get("cell", "gru") == "gru" else "simple recurrence"
    if model.get("direction") == "both":
        return (
            f"Deep Speech 2 in its research form: centred convolutions, {unit} in both directions "
            f"{norm}, CTC. It answers when it has heard the end. Made by ds2edge."
        )
    return (
        f"Deep Speech 2 in its deployed form: causal convolutions, forward {unit} {norm}, row "
        "convolution, CTC. Made by ds2edge."
    )


def _formats(manifest: Manifest) -> str:
    if not _measured(manifest):
        return ""
    plot = f"\n\n![formats]({PLOT})" if len(manifest.artefacts) > 1 else ""
    return f"{formats_table(manifest)}{plot}"


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
    if not config["data"]["train"]:
        return "The file that it was converted from does not tell what it learned from."
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
        f"{figures['utterances']} utterances of the test split, {manifest.artefacts[0].weights}:",
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
    unit = "characters" if model.get("of") == "tokens" else "words"
    return (
        f"{model['order']}-gram of {model['words']} {unit} from {', '.join(model['sources'])} "
        f"({model['text_words']} {unit} of text). Decoder: beam {options.beam}, "
        f"alpha {options.alpha}, beta {options.beta}."
    )
