// Segments as subtitles in SubRip's form: as ds2edge/subtitles.py makes them, for what the page
// alone has. Times are milliseconds here.

import { columns, gap, join } from "./text.js";

const LINE = 42; // columns
const LINES = 2; // in a cue
const LONGEST = 7000; // no cue stays longer
const SHORTEST = 1000; // a shorter cue stays on in the silence after it
const PAUSE = 800; // so long a silence between two words begins a new cue

// Words that belong to what follows them, and to what is before them.
const LINKS = new Set(
  `a an the my your his her its our their
  and but or nor so yet because although though while when if that which who whose where as than
  at by for from in into of off on onto out over through to under until up with without
  between about after before during
  \u5728 \u548c \u4e0e \u6216 \u628a \u88ab \u4ece \u8ddf \u5bf9 \u4e0d \u6ca1 \u5f88 \u8fd9 \u90a3 \u4e00
  \u56e0\u4e3a \u6240\u4ee5 \u4f46\u662f \u800c\u4e14 \u5982\u679c \u867d\u7136`.split(/\s+/),
);
const TAILS = new Set("\u7684\u4e86\u5417\u5462\u5427\u554a\u4eec\u4e48");

/** SubRip text of segments in the order of time. */
export function srt(segments) {
  const said = segments.flatMap(({ words }) => spans(words.flatMap(pieces)).flatMap(fullCues));
  let earliest = 0;
  const cues = said.map((spoken) => {
    const start = Math.max(earliest, spoken[0].start);
    earliest = start + 1;
    return { start, spoken };
  });
  return cues.map((cue, i) => block(i + 1, cue, cues[i + 1]?.start ?? Infinity)).join("");
}

function block(number, { start, spoken }, next) {
  const over = Math.max(spoken.at(-1).end, start + SHORTEST);
  const end = Math.min(Math.max(over, start + 1), start + LONGEST, next);
  // Players take any line with "-->" for times, and SubRip has no escape.
  const text = lines(spoken).join("\n").replaceAll("-->", "\u2192");
  return `${number}\n${stamp(start)} --> ${stamp(end)}\n${text}\n\n`;
}

/** A word, or the parts of one that is longer than a line, each with its share of the time. */
function pieces({ text, start, end }) {
  const texts = text.split(/\s+/).flatMap(short).filter(Boolean);
  const total = length(texts.join(""));
  const at = (done) => Math.max(0, Math.round(1000 * (start + ((end - start) * done) / total)));
  let done = 0;
  return texts.map((part) => {
    const begin = at(done);
    done += length(part);
    return { text: part, start: begin, end: at(done) };
  });
}

function short(text) {
  const parts = [""];
  for (const character of text) {
    if (columns(parts.at(-1) + character) > LINE) parts.push("");
    parts[parts.length - 1] += character;
  }
  return parts;
}

function length(text) {
  return Array.from(text).length;
}

/** What is said without a pause. */
function spans(said) {
  const found = [];
  said.forEach((piece, i) => {
    if (i && piece.start - said[i - 1].end < PAUSE) found.at(-1).push(piece);
    else found.push([piece]);
  });
  return found;
}

/** Cues that are neither too full nor too long. */
function fullCues(said) {
  const ends = lineEnds(said);
  const reach = said.map((piece, start) => {
    let end = start;
    for (let line = 0; line < LINES && end < said.length; line += 1) end = ends[end];
    while (end > start + 1 && said[end - 1].end - piece.start > LONGEST) end -= 1;
    return end;
  });
  return cut(said, reach, LINES * LINE, PAUSE);
}

function lines(said) {
  return cut(said, lineEnds(said), LINE, Infinity).map((line) => join(line.map(({ text }) => text)));
}

/** For each piece, where a line that begins with it must end. */
function lineEnds(said) {
  const places = onOneLine(said);
  let end = 0;
  return places.map(([left], start) => {
    while (end < said.length && places[end][1] - left <= LINE) end += 1;
    return Math.max(end, start + 1);
  });
}

/** Where each piece would begin and end if all stood on one line. */
function onOneLine(said) {
  let at = 0;
  return said.map(({ text }, i) => {
    const left = at + (i ? gap(said[i - 1].text, text).length : 0);
    at = left + columns(text);
    return [left, at];
  });
}

/** The fewest spans, i to j only if j <= reach[i]; of those what is balanced and reads well. */
function cut(said, reach, room, pause) {
  const places = onOneLine(said);
  const best = [{ spans: 0, cost: 0 }];
  for (let start = 0; start < said.length; start += 1) {
    for (let end = start + 1; end <= reach[start]; end += 1) {
      const wide = places[end - 1][1] - places[start][0];
      const reads = end < said.length ? penalty(said[end - 1], said[end], pause) : 0;
      const cost = best[start].cost + wide ** 2 + (reads * room ** 2) / 10;
      const spans = best[start].spans + 1;
      const other = best[end] ?? { spans: Infinity };
      if (spans < other.spans || (spans === other.spans && cost < other.cost)) {
        best[end] = { spans, cost, start };
      }
    }
  }
  const found = [];
  for (let end = said.length; end; end = best[end].start) found.unshift(said.slice(best[end].start, end));
  return found;
}

/** 0 to 4: how badly a cut between two pieces reads. */
function penalty(before, after, pause) {
  if (/[.,;:!?\u2026\u3002\u3001\uff0c\uff01\uff1f]$/.test(before.text)) return 0;
  let grade = LINKS.has(after.text.toLowerCase()) ? 1 : 2;
  if (LINKS.has(before.text.toLowerCase()) || TAILS.has(after.text)) grade = 4;
  return grade * Math.max(0, 1 - Math.max(0, after.start - before.end) / pause);
}

function stamp(time) {
  const parts = [time / 3_600_000, (time / 60_000) % 60, (time / 1000) % 60];
  const [hours, minutes, seconds] = parts.map((part) => String(Math.floor(part)).padStart(2, "0"));
  return `${hours}:${minutes}:${seconds},${String(time % 1000).padStart(3, "0")}`;
}
