// Segments as subtitles in SubRip's form.

import { columns, gap, join } from "./text.js";

const LINE = 42; // columns
const LINES = 2; // in a cue
const LONGEST = 7; // seconds; no cue stays longer
const SHORTEST = 1; // seconds; a shorter cue stays on in the silence after it
const PAUSE = 0.8; // seconds; so long a silence between two words begins a new cue

/** SubRip text of segments in the order of time. */
export function srt(segments) {
  const cues = segments.flatMap(({ words }) => cut(words.flatMap(pieces)));
  let earliest = 0; // milliseconds
  for (const cue of cues) {
    cue.start = Math.max(earliest, milliseconds(cue.words[0].start));
    earliest = cue.start + 1;
  }
  return cues.map((cue, i) => block(i + 1, cue, cues[i + 1]?.start ?? Infinity)).join("");
}

function block(number, { start, words }, next) {
  const spoken = Math.max(milliseconds(words.at(-1).end), start + SHORTEST * 1000);
  const end = Math.min(Math.max(spoken, start + 1), start + LONGEST * 1000, next);
  // Players take any line with "-->" for times, and SubRip has no escape.
  const text = lines(words).join("\n").replaceAll("-->", "\u2192");
  return `${number}\n${stamp(start)} --> ${stamp(end)}\n${text}\n\n`;
}

/** A word, or the parts of one that is longer than a line, each with its share of the time. */
function pieces({ text, start, end }) {
  const parts = [""];
  for (const character of text.trim()) {
    if (columns(parts.at(-1) + character) > LINE) parts.push("");
    parts[parts.length - 1] += character;
  }
  const each = (end - start) / parts.length;
  return parts.map((part, i) => ({ text: part, start: start + i * each, end: start + (i + 1) * each }));
}

/** Cues that are neither too full nor too long, and never span a pause. */
function cut(words) {
  const cues = [];
  for (const word of words) {
    const cue = cues.at(-1)?.words;
    if (cue && fits(cue, word)) cue.push(word);
    else cues.push({ words: [word] });
  }
  return cues;
}

function fits(words, word) {
  const [first, last] = [words[0], words.at(-1)];
  if (word.start - last.end >= PAUSE || word.end - first.start > LONGEST) return false;
  return lines([...words, word]).length <= LINES;
}

function lines(words) {
  const rows = [];
  for (const { text } of words) {
    const row = rows.at(-1);
    const longer = row && row + gap(row, text) + text;
    if (longer && columns(longer) <= LINE) rows[rows.length - 1] = longer;
    else rows.push(text);
  }
  return balanced(rows, words);
}

/** Two lines of about the same length, where the text takes two. */
function balanced(rows, words) {
  if (rows.length !== 2) return rows;
  const texts = words.map(({ text }) => text);
  const splits = texts.slice(1).map((_, i) => [join(texts.slice(0, i + 1)), join(texts.slice(i + 1))]);
  const longest = (pair) => Math.max(...pair.map(columns));
  return splits.reduce((best, pair) => (longest(pair) < longest(best) ? pair : best), rows);
}

function milliseconds(seconds) {
  return Math.round(seconds * 1000);
}

function stamp(time) {
  const parts = [time / 3_600_000, (time / 60_000) % 60, (time / 1000) % 60];
  const [hours, minutes, seconds] = parts.map((part) => String(Math.floor(part)).padStart(2, "0"));
  return `${hours}:${minutes}:${seconds},${String(time % 1000).padStart(3, "0")}`;
}
