// What one place measured over the last hours, as a small picture: a bar for every ten
// minutes, as high as its runs took and coloured by how they ended. Words beside it say
// the same.

export const SPAN = 8 * 3_600_000; // so long that the core still answers by the minute
const BAR = 600_000;
const BARS = SPAN / BAR;
const WIDTH = 3; // of a bar with the gap after it
const HEIGHT = 22;
const LOW = 4; // of a bar without a latency

// The namespace is that of the page's own drawing, so that no address is written here.
const drawn = (name, attributes) => {
  const made = document.createElementNS(document.getElementById('drawing').namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// placeOf is the key of a location: of a series of a history, and of a location in a status.
export const placeOf = (checkId, { satelliteId, environmentId }) => `${checkId}/${satelliteId}/${environmentId ?? ''}`;

// byPlace sorts the series of a history, each with the hours that it is of.
export function byPlace({ to, series }) {
  const end = Math.ceil(Date.parse(to) / BAR) * BAR;
  return new Map(series.map(one => [placeOf(one.checkId, one), { ...one, end }]));
}

// bars gather buckets of minutes; nothing where nothing ran.
function bars({ end, buckets }) {
  const all = Array.from({ length: BARS }, () => null);
  for (const { at, healthy, degraded, unhealthy, inconclusive, latency } of buckets) {
    const i = Math.floor((Date.parse(at) - (end - SPAN)) / BAR);
    if (i < 0 || i >= BARS) continue;
    const bar = all[i] ??= { healthy: 0, degraded: 0, unhealthy: 0, inconclusive: 0, p95: 0 };
    bar.healthy += healthy;
    bar.degraded += degraded;
    bar.unhealthy += unhealthy;
    bar.inconclusive += inconclusive;
    bar.p95 = Math.max(bar.p95, latency?.p95Ms ?? 0);
  }
  return all;
}

const worst = bar => ['unhealthy', 'degraded', 'healthy'].find(status => bar[status]) ?? 'inconclusive';
// Not rounded up: one failure in a thousand is not none.
const percent = share => `${Math.floor(share * 1000) / 10}%`;

// summaryOf says in words what the picture shows; '' where nothing was measured.
export function summaryOf({ total }) {
  const available = total.availability === null ? '' : `${percent(total.availability)} up`;
  const latency = total.latency ? `p95 ${Math.round(total.latency.p95Ms)} ms` : '';
  const blind = total.inconclusive ? `${total.inconclusive} inconclusive` : '';
  return [available, latency, blind].filter(Boolean).join(', ');
}

export function picture(series) {
  const all = bars(series);
  const highest = Math.max(1, ...all.map(bar => bar?.p95 ?? 0));
  const label = `Last ${SPAN / 3_600_000} hours: ${summaryOf(series)}`;
  const svg = drawn('svg', { class: 'history', role: 'img', 'aria-label': label, viewBox: `0 0 ${BARS * WIDTH} ${HEIGHT}`, width: BARS * WIDTH, height: HEIGHT });
  all.forEach((bar, i) => {
    if (!bar) return;
    const height = LOW + (HEIGHT - LOW) * bar.p95 / highest;
    const rect = drawn('rect', { x: i * WIDTH, y: HEIGHT - height, width: WIDTH - 1, height, 'data-status': worst(bar) });
    const title = drawn('title', {});
    const from = new Date(series.end - SPAN + i * BAR).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    const counts = ['healthy', 'degraded', 'unhealthy', 'inconclusive'].filter(of => bar[of]).map(of => `${bar[of]} ${of}`);
    title.textContent = `${from}: ${counts.join(', ')}${bar.p95 ? `, p95 ${Math.round(bar.p95)} ms` : ''}`;
    rect.append(title);
    svg.append(rect);
  });
  return svg;
}
