const UNITS: [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
];

/** A length of time in its one or two largest units: 3 d 4 h, 12 min, 8 s. */
export function span(ms: number): string {
  const length = Math.max(0, ms);
  const i = UNITS.findIndex(([, unit]) => length >= unit);
  if (i < 0) return length < 1 ? '0 s' : '< 1 s';
  const [name, unit] = UNITS[i] as [string, number];
  const n = Math.floor(length / unit);
  const next = UNITS[i + 1];
  if (!next || n >= 10) return `${n} ${name}`;
  const rest = Math.floor((length - n * unit) / next[1]);
  return rest ? `${n} ${name} ${rest} ${next[0]}` : `${n} ${name}`;
}

/** Milliseconds as people write them: 0.4 ms, 12 ms, 1.5 s. Nothing takes no time: 0 is what was cut off to a whole. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '';
  if (ms < 0.05) return ms ? '< 0.1 ms' : '< 1 ms';
  if (ms >= 10_000) return `${Math.round(ms / 1000)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 && ms % 1 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** A size as people write it: 640 B, 12 kB, 3.1 MB. */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  const [size, unit] = n < 1e6 ? [n / 1e3, 'kB'] : n < 1e9 ? [n / 1e6, 'MB'] : [n / 1e9, 'GB'];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

/** A share in percent, never rounded up to a whole: one failure in a thousand is not none. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? '' : `${Math.floor(share * 1000) / 10} %`;
}

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

/** A moment in full, with the time zone that all times on the page are in. */
export const absolute = (at: string | number): string =>
  new Date(at).toLocaleString(undefined, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'short',
    hourCycle: 'h23',
  });

/** The time zone that times are shown in, by its name. */
export const zone = (): string => new Intl.DateTimeFormat().resolvedOptions().timeZone;

export const clock = (at: string | number): string =>
  new Date(at).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });

const DAY = 86_400_000;

/** A moment on an axis of time of that length: by the clock, with its date where that is not the same everywhere. */
export const mark = (at: number, axis: number, seconds = true): string =>
  new Date(at).toLocaleString(undefined, {
    ...(axis < DAY ? { second: seconds ? '2-digit' : undefined } : { day: 'numeric', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });

/** A tick of an axis of time, in seconds, by the clock; days by their date. */
export const tick = (at: number, step: number): string =>
  new Date(at * 1000).toLocaleString(
    undefined,
    step >= 86_400
      ? { day: 'numeric', month: 'short' }
      : { hour: '2-digit', minute: '2-digit', second: step < 60 ? '2-digit' : undefined, hourCycle: 'h23' },
  );
