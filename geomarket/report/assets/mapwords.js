/** Elements and numbers the map writes. */

/** Creates an element with properties and children; text is always text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Writes a number the way the legend says: {style, digits, unit}. */
export function writeNumber(value, format) {
  if (!(value === value)) return "no data";
  const digits = format.digits ?? 0;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (format.style === "percent") return `${(value * 100).toLocaleString("en-GB", options)}%`;
  const text = Math.abs(value).toLocaleString("en-GB", options);
  const sign = value < 0 && Number(Math.abs(value).toFixed(digits)) > 0 ? "−" : "";
  if (format.style === "money") return `${sign}${format.unit}${text}`;
  return format.unit ? `${sign}${text} ${format.unit}` : `${sign}${text}`;
}

/** Writes a share as a whole percentage. */
export const writeShare = (share) => `${Math.round(share * 100)}%`;

/** A list of terms and what they are, two columns wide. */
export function pairs(lines) {
  const list = make("dl", {});
  lines.forEach(([label, value]) => list.append(make("dt", {}, label), make("dd", {}, value)));
  return list;
}
