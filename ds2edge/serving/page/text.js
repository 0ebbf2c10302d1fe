// How words make text, in scripts with and without spaces: as ds2edge/writing.py does.

// Scripts that write no spaces between words: Han, kana, Bopomofo; Thai, Lao, Burmese, Khmer.
const UNSPACED =
  "\\u2e80-\\u312f\\u31a0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\uff00-\\uffef" +
  "\\u{20000}-\\u{3ffff}\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff";
const ENDS_UNSPACED = new RegExp(`[${UNSPACED}]$`, "u");
const BEGINS_UNSPACED = new RegExp(`^[${UNSPACED}]`, "u");
const WIDE = new RegExp(
  "[\\u1100-\\u115f\\u2e80-\\u303e\\u3041-\\u4dbf\\u4e00-\\ua4cf\\uac00-\\ud7a3\\uf900-\\ufaff" +
    "\\ufe30-\\ufe6f\\uff01-\\uff60\\uffe0-\\uffe6\\u{1f300}-\\u{1f64f}\\u{20000}-\\u{3fffd}]",
  "u",
);
const ABOVE_OR_BELOW = /[\p{Mn}\p{Me}]/u; // accents, Thai vowels
const KANA = /[\p{Script=Hiragana}\p{Script=Katakana}]/u;

/** What stands between two words: nothing beside a script that writes no spaces. */
export function gap(before, after) {
  return ENDS_UNSPACED.test(before) || BEGINS_UNSPACED.test(after) ? "" : " ";
}

/** Texts of words as one text. */
export function join(texts) {
  return texts.reduce((joined, text) => (joined ? joined + gap(joined, text) + text : text), "");
}

/** The width of a text in columns: a Chinese character takes two. */
export function columns(text) {
  return Array.from(text).reduce((sum, each) => sum + width(each), 0);
}

/** The language that fonts and screen readers need to know, or "" for that of the page. */
export function language(text) {
  if (KANA.test(text)) return "ja";
  return /\p{Script=Han}/u.test(text) ? "zh-Hans" : "";
}

/** Seconds as 1:02 or 1:00:02. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = `${hours ? String(minutes).padStart(2, "0") : minutes}:${String(whole % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${tail}` : tail;
}

function width(character) {
  if (ABOVE_OR_BELOW.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
