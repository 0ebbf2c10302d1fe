// How words make text, in scripts with and without spaces.

const WIDE = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\u3000-\\u303f\\uff01-\\uff60";
const ENDS_WIDE = new RegExp(`[${WIDE}]$`, "u");
const BEGINS_WIDE = new RegExp(`^[${WIDE}]`, "u");
const KANA = /[\p{Script=Hiragana}\p{Script=Katakana}]/u;

/** What stands between two words: nothing where the script of both writes no spaces. */
export function gap(before, after) {
  return ENDS_WIDE.test(before) && BEGINS_WIDE.test(after) ? "" : " ";
}

/** Texts of words as one text. */
export function join(texts) {
  return texts.reduce((joined, text) => (joined ? joined + gap(joined, text) + text : text), "");
}

/** The width of a text in columns: a Chinese character takes two. */
export function columns(text) {
  return Array.from(text).reduce((sum, each) => sum + (BEGINS_WIDE.test(each) ? 2 : 1), 0);
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
