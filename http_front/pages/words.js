// Numbers as people read them; the same words as `openvino-reranker status` uses.

const grouped = (digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const formats = [0, 1, 2, 3, 4].map(grouped);

export const number = (value, digits = 0) => formats[digits].format(value);
export const percent = (share) => `${number(share * 100)}%`;

export const some = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

export function milliseconds(value) {
  if (value >= 10_000) return `${number(value / 1000, 1)} s`;
  return `${number(value, value < 9.95 ? 1 : 0)} ms`;
}

export function bytes(value) {
  if (value >= 1e9) return `${number(value / 1e9, 2)} GB`;
  return value >= 1e6 ? `${number(value / 1e6)} MB` : `${number(value / 1e3)} kB`;
}

export function duration(seconds) {
  const whole = Math.floor(seconds);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** A score from 0 to 1: four places, and small ones as such instead of as nothing. */
export function relevance(score) {
  return score > 0 && score < 0.00005 ? score.toExponential(1).replace("e-", "e−") : number(score, 4);
}

/** With a real minus sign, as wide as a plus. */
export const logit = (score) => number(score, 2).replace("-", "−");
