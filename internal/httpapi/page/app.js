// The page reads the API and then listens: it opens the event stream first and
// reads the views once it is open, so that nothing falls between the two. Every
// failure takes one way: the line is dropped, the page says how old its data is,
// and a new line is tried after a pause that grows.

import { SPAN, byPlace, picture, placeOf, summaryOf } from './history.js';

const BASE = '/api/v1';
const READ_LIMIT = 15_000; // one read, in ms
const SILENCE_LIMIT = 40_000; // the core says something every 15 s
const GATHER = 250; // events come in bursts; read once for all of them
const MAX_PAUSE = 30_000;
const LOOK_AGAIN = 10_000; // see lookAgain
const MAX_EVENTS = 50;
const OFFLINE_AFTER = 45_000; // a satellite's threshold unless it has its own

const $ = id => document.getElementById(id);

const state = {
  systems: null, // of GET /status; null before the first read
  satellites: null,
  maintenances: [], // those that last now
  events: [], // newest first
  completeness: new Map(), // of systems, by id: what became of the runs of the last hour
  histories: new Map(), // of opened systems, by id: what each place measured, by placeOf
  names: new Map(), // ids of systems, also of deleted ones, to names
  currentAt: null, // until when the line before this one kept the views current
  clock: 0, // the core's clock minus ours, ms
};

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// ---- talking to the core

async function call(path, options = {}) {
  const answer = await fetch(path, { cache: 'no-store', ...options });
  const date = Date.parse(answer.headers.get('Date'));
  if (Math.abs(date - Date.now()) > 2000) state.clock = date - Date.now();
  else if (date) state.clock = 0;
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail || problem.title || `the core answered ${answer.status}`);
}

async function read(path, signal) {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(READ_LIMIT)]);
  return (await call(BASE + path, { signal: limit })).json();
}

async function readAll(path, signal) {
  const all = [];
  let cursor = '';
  do {
    const page = await read(`${path}?limit=1000${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, signal);
    all.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor);
  return all;
}

// countRuns reads what share of the runs of the last hour was measured, for one system
// after the other and not more than once a minute each: it is counted anew each time.
// A failure leaves the share out; what else is shown does not rest on it.
const COUNT_AGAIN = 60_000;
let counting = false;
async function countRuns(systems, signal) {
  if (counting) return;
  counting = true;
  try {
    for (const { systemId } of systems) {
      const known = state.completeness.get(systemId);
      if (known && Date.now() - known.at < COUNT_AGAIN) continue;
      const from = new Date(Date.now() + state.clock - 3_600_000).toISOString();
      const counted = await read(`/systems/${systemId}/completeness?from=${from}`, signal);
      state.completeness.set(systemId, { at: Date.now(), ...counted });
      systemRows.get(systemId)?.showCompleteness();
    }
  } catch {
    // the next reading tries again
  } finally {
    counting = false;
  }
}

// readHistory reads what was measured of an opened system, not more than once a minute.
// Like the share above, it is left out when it cannot be read.
async function readHistory(row) {
  const id = row.system.systemId;
  const known = state.histories.get(id);
  if (!line || known && Date.now() - known.at < COUNT_AGAIN) return;
  const entry = { at: Date.now(), places: known?.places ?? new Map() };
  state.histories.set(id, entry);
  try {
    const from = new Date(Date.now() + state.clock - SPAN + 60_000).toISOString();
    entry.places = byPlace(await read(`/systems/${id}/history?by=location&step=minute&from=${from}`, line.signal));
    row.drawn = null;
    row.draw();
  } catch {
    // tried again in a minute
  }
}

// views are what is read again when events say that it has changed.
const views = {
  systems: {
    kinds: ['health', 'system', 'check', 'assignment', 'satellite', 'satellite-connection', 'satellite-observer'],
    async load(signal) {
      state.systems = (await read('/status', signal)).items;
      for (const s of state.systems) state.names.set(s.systemId, s.system);
      void countRuns(state.systems, signal);
    },
  },
  satellites: {
    kinds: ['satellite', 'satellite-connection', 'satellite-observer', 'assignment', 'check', 'system'],
    async load(signal) {
      state.satellites = await readAll('/satellites', signal);
    },
  },
  maintenances: {
    kinds: ['maintenance'],
    async load(signal) {
      state.maintenances = (await readAll('/maintenances', signal)).filter(m => m.active);
    },
  },
  // What happened before the stream began; what happens then comes through it.
  events: {
    kinds: [],
    async load(signal) {
      const { items } = await read(`/events?newest=true&limit=${MAX_EVENTS}`, signal);
      remember(items);
    },
  },
};

// remember adds events to those that are shown, newest first and each once. What
// it finds of systems' names does for those that are deleted; /status knows better.
function remember(events) {
  const bySeq = new Map([...state.events, ...events].map(event => [event.seq, event]));
  const all = [...bySeq.values()].toSorted((a, b) => b.seq - a.seq);
  state.events = all.slice(0, MAX_EVENTS);
  for (const { kind, entityId, payload } of state.events) {
    if (kind === 'system' && payload?.name && !state.names.has(entityId)) state.names.set(entityId, payload.name);
  }
}

// Line is one connection to the core: the stream, and the reads that it causes.
class Line {
  #ended = new AbortController();
  #stale = new Set();
  #timer = 0;
  #reading = false;
  #reason = null;

  constructor(lastEventId) {
    this.lastEventId = lastEventId;
    this.wasLive = false;
    this.currentAt = null; // when the views were last known to be true
  }

  // run follows the stream until it ends, and always throws the reason.
  async run() {
    try {
      const headers = this.lastEventId ? { 'Last-Event-ID': this.lastEventId } : {};
      const opening = setTimeout(() => this.end(new Error('the core does not answer')), READ_LIMIT);
      let answer;
      try {
        answer = await call(`${BASE}/events/stream`, { headers, signal: this.#ended.signal });
      } finally {
        clearTimeout(opening);
      }
      this.refresh(...Object.keys(views));
      await this.#listen(answer.body.getReader());
      throw new Error('the stream ended');
    } catch (error) {
      this.end(error);
      throw this.#reason;
    }
  }

  end(reason) {
    this.#reason ??= reason;
    clearTimeout(this.#timer);
    this.#ended.abort();
  }

  get signal() { return this.#ended.signal; }

  get over() { return this.#ended.signal.aborted; }

  // refresh reads views soon; reads that are asked for meanwhile become one.
  refresh(...names) {
    if (this.over) return;
    for (const name of names) this.#stale.add(name);
    if (!this.#timer && !this.#reading) this.#timer = setTimeout(() => this.#load(), this.wasLive ? GATHER : 0);
  }

  async #load() {
    const names = [...this.#stale];
    this.#stale.clear();
    this.#timer = 0;
    this.#reading = true;
    try {
      await Promise.all(names.map(name => views[name].load(this.#ended.signal)));
    } catch (error) {
      this.end(error);
      return;
    } finally {
      this.#reading = false;
    }
    if (this.over) return;
    this.wasLive = true;
    this.currentAt = new Date();
    setLive('live', 'Live');
    render();
    if (this.#stale.size) this.refresh();
  }

  async #listen(reader) {
    const text = new TextDecoder();
    const message = new Message(event => this.#hear(event));
    for (;;) {
      const silence = setTimeout(() => this.end(new Error('the core has gone silent')), SILENCE_LIMIT);
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      if (!this.#stale.size && !this.#reading) this.currentAt = new Date();
      message.take(text.decode(value, { stream: true }));
    }
  }

  #hear({ id, data }) {
    if (id) this.lastEventId = id;
    if (!data) return; // only where the stream begins
    const event = JSON.parse(data);
    remember([event]);
    const known = event.payload;
    if (event.kind === 'system' && known?.name) state.names.set(event.entityId, known.name);
    showEvents();
    this.refresh(...Object.keys(views).filter(name => views[name].kinds.includes(event.kind)));
  }
}

// Message gathers the lines of server-sent events. An id without data is delivered
// too: it counts as the last one.
class Message {
  #rest = '';
  #id = '';
  #data = [];

  constructor(deliver) { this.deliver = deliver; }

  take(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line.replace(/\r$/, ''));
  }

  #line(line) {
    if (line === '') {
      if (this.#id || this.#data.length) this.deliver({ id: this.#id, data: this.#data.join('\n') });
      this.#data = [];
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === 'id') this.#id = value;
    if (field === 'data') this.#data.push(value);
  }
}

let line = null;

// follow keeps a line open until somebody has to sign in (again).
async function follow() {
  let lastEventId = '';
  for (let failures = 0; ;) {
    const mine = line = new Line(lastEventId);
    const reason = await mine.run().catch(error => error);
    if (mine !== line) return; // signed out
    if (reason.status === 401) {
      showSignIn(state.systems ? 'Your session has ended.' : '');
      return;
    }
    lastEventId = mine.lastEventId;
    failures = mine.wasLive ? 1 : failures + 1;
    showLost(reason);
    await pause(Math.min(MAX_PAUSE, 1000 * 2 ** (failures - 1)) * (0.75 + Math.random() / 2));
    if (mine !== line) return;
  }
}

// pause waits, but not for long when the machine has just come back online.
function pause(ms) {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
  });
}

// lookAgain reads what moves without an event, and only while somebody sees it:
// results that confirm a status (an opened system), and satellites that have yet
// to apply what they should run or to send what they have gathered.
setInterval(() => {
  if (document.hidden || !line?.wasLive || line.over) return;
  if (document.querySelector('.system[open]')) line.refresh('systems');
  if (state.satellites?.some(unsettled)) line.refresh('satellites');
}, LOOK_AGAIN);

const unsettled = s => s.status === 'online' && (behind(s) || s.pulse?.spoolRecords > 0);
const behind = s => s.appliedRevision !== null && s.appliedRevision !== s.desiredRevision;

// ---- signing in and out

async function signIn(token) {
  await call('/session', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ token }), signal: AbortSignal.timeout(READ_LIMIT),
  });
  start();
}

function start() {
  $('sign-in').hidden = true;
  $('board').hidden = $('live').hidden = $('sign-out').hidden = false;
  setLive('connecting', 'Connecting…');
  line?.end(new Error('replaced'));
  follow();
}

function showSignIn(message = '') {
  line?.end(new Error('signed out'));
  line = null;
  Object.assign(state, { systems: null, satellites: null, maintenances: [], events: [], currentAt: null });
  for (const kept of [state.names, state.completeness, state.histories]) kept.clear();
  for (const id of ['summary', 'systems', 'maintenances', 'satellites', 'events']) $(id).replaceChildren();
  systemRows.clear();
  document.title = 'Perigee';
  $('board').hidden = $('live').hidden = $('sign-out').hidden = true;
  $('sign-in').hidden = false;
  $('sign-in-error').textContent = message;
  $('token').value = '';
  $('token').focus();
}

$('sign-in-form').addEventListener('submit', async event => {
  event.preventDefault();
  $('sign-in-error').textContent = '';
  const button = event.target.querySelector('button');
  button.disabled = true;
  try {
    await signIn($('token').value);
  } catch (error) {
    showSignIn(inWords(error));
  } finally {
    button.disabled = false;
  }
});

$('sign-out').addEventListener('click', async () => {
  try {
    await call('/session', { method: 'DELETE', signal: AbortSignal.timeout(READ_LIMIT) });
    showSignIn();
  } catch (error) {
    setLive('lost', `Not signed out: ${inWords(error)}`);
  }
});

// enter signs in with the token of a link, /#token=…, which leaves the address at once.
async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return false;
  history.replaceState(null, '', location.pathname + location.search);
  await signIn(token).catch(error => showSignIn(inWords(error)));
  return true;
}

function inWords(error) {
  if (error instanceof Refused) return `${error.message[0].toUpperCase()}${error.message.slice(1)}.`.replace(/\.\.$/, '.');
  return 'The core cannot be reached.';
}

// ---- drawing

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
}

const statusOf = (status, word = status) => element('span', { class: 'status', 'data-status': status }, word);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const clockTime = date => date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const isToday = date => date.toDateString() === new Date().toDateString();
const eventTime = date => (isToday(date) ? '' : `${date.toLocaleDateString([], { day: 'numeric', month: 'short' })} `) + clockTime(date);
const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
const byName = new Intl.Collator(undefined, { numeric: true }).compare;

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 2 * 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

// time is a moment told by its distance, kept true by tick. Phrase is 'ago' or 'for'.
function time(at, phrase) {
  const made = element('time', { datetime: at, 'data-phrase': phrase, title: new Date(at).toLocaleString() });
  tellTime(made);
  return made;
}

function tellTime(node) {
  const passed = span(Date.now() + state.clock - Date.parse(node.dateTime));
  setText(node, node.dataset.phrase === 'for' ? `for ${passed}` : `${passed} ago`);
}

setInterval(() => document.querySelectorAll('time[data-phrase]').forEach(tellTime), 1000);

function setLive(name, text) {
  $('live').dataset.state = name;
  setText($('live'), text);
}

function showLost(reason) {
  if (line.wasLive) state.currentAt = line.currentAt;
  const since = state.currentAt ? `Reconnecting — data as of ${clockTime(state.currentAt)}` : `Cannot read yet. ${inWords(reason)}`;
  setLive('lost', since);
}

function render() {
  showSystems();
  showMaintenances();
  showSatellites();
  showSummary();
  showEvents();
}

const WORST_FIRST = ['unhealthy', 'degraded', 'unknown', 'healthy'];

function showSummary() {
  const counted = (all, of) => all.filter(one => one.status === of).length;
  const items = WORST_FIRST.filter(of => counted(state.systems, of))
    .map(of => element('li', {}, statusOf(of, `${counted(state.systems, of)} ${of}`)));
  const online = counted(state.satellites, 'online');
  const offline = state.satellites.length - online;
  const satellites = [online && `${online} online`, offline && `${offline} offline`].filter(Boolean).join(', ');
  items.push(element('li', { class: 'total' }, `${plural(state.satellites.length, 'satellite')}${satellites && `: ${satellites}`}`));
  $('summary').replaceChildren(...items);

  const wrong = WORST_FIRST.slice(0, 2).filter(of => counted(state.systems, of)).map(of => `${counted(state.systems, of)} ${of}`);
  document.title = wrong.length ? `${wrong.join(', ')} · Perigee` : 'Perigee';
}

// reasonOf says why a system has its status, and why nobody was alarmed by it.
function reasonOf(system) {
  const causes = (system.suppressedBy ?? []).map(cause => cause.name).join(', ');
  return [system.maintenance ? 'in maintenance' : '', causes && `because of ${causes}`, system.reason].filter(Boolean).join(': ');
}

// systemRows are kept from one drawing to the next, so that what is open stays
// open, and what has the focus keeps it.
const systemRows = new Map();

class SystemRow {
  constructor() {
    this.status = statusOf('unknown');
    this.name = element('span', { class: 'name' });
    this.marks = element('span', { class: 'marks' });
    this.reason = element('span', { class: 'reason' });
    this.since = element('span', { class: 'since' });
    this.count = element('span', { class: 'count' });
    this.complete = element('span', { class: 'complete' });
    this.checks = element('div', { class: 'checks' });
    this.details = element('details', { class: 'system' },
      element('summary', {}, this.status, this.name, this.marks, this.reason, this.since, this.count, this.complete), this.checks);
    this.details.addEventListener('toggle', () => {
      this.draw();
      if (this.details.open) line?.refresh('systems');
    });
  }

  show(system) {
    this.system = system;
    this.status.dataset.status = system.status;
    setText(this.status, system.status);
    setText(this.name, system.system);
    setText(this.marks, marksOf(system).join(' · '));
    setText(this.reason, reasonOf(system));
    setText(this.count, system.totalChecks ? `${system.healthyChecks}/${plural(system.totalChecks, 'check')}` : 'no checks');
    if (this.since.firstChild?.dateTime !== (system.since ?? undefined)) {
      this.since.replaceChildren(...system.since ? [time(system.since, 'for')] : []);
    }
    this.showCompleteness();
    this.draw();
  }

  showCompleteness() {
    const counted = state.completeness.get(this.system.systemId);
    const share = counted?.completeness ?? null;
    // Not rounded up: one run in a thousand that is missing is not none.
    setText(this.complete, share === null ? '' : `${Math.floor(share * 1000) / 10}% measured`);
    this.complete.title = share === null ? '' : `Of the last hour's ${counted.due} runs, ${counted.reported + counted.backfilled} were measured`;
  }

  // draw makes the evidence, which only an opened system needs.
  draw() {
    if (!this.details.open) return;
    void readHistory(this);
    const drawn = JSON.stringify(this.system.checks);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const none = element('p', { class: 'notice' }, 'No check is assigned to this system.');
    this.checks.replaceChildren(...this.system.checks.length ? this.system.checks.map(check => drawCheck(check, state.histories.get(this.system.systemId)?.places)) : [none]);
  }
}

// FAULTS are where a fault may lie, as people say it.
const FAULTS = { target: 'target down', path: 'path down', observer: 'observer ill' };

// verdictsOf are those that are reached apart: one, or one in each environment.
const verdictsOf = check => check.environments ?? [check];

// marksOf are what should be known of a system's verdict at once.
function marksOf(system) {
  const verdicts = system.checks.flatMap(verdictsOf);
  const marks = verdicts.filter(v => v.status === system.status).map(v => FAULTS[v.class]).filter(Boolean);
  if (verdicts.some(v => v.suspect)) marks.push('suspect');
  return [...new Set(marks)];
}

// drawWord says where the fault lies, on whose word, and what others said of it.
function drawWord(v) {
  const parts = [];
  if (v.suspect) parts.push(`suspect: others are asked first; it says ${v.status} until then`);
  if (FAULTS[v.class]) parts.push(FAULTS[v.class]);
  if (v.word) parts.push(`on the word of ${v.word}`);
  const answers = v.status === 'healthy' && !v.suspect ? [] : v.opinion?.answers ?? [];
  if (answers.length) parts.push(`asked: ${answers.map(a => `${a.satellite} ${a.void ? `(${a.void})` : a.status || 'has not answered'}`).join(', ')}`);
  if (!parts.length && v.environment === undefined) return null;
  const where = v.environment === undefined ? null : element('span', {}, statusOf(v.status), ` in ${v.environment || 'no environment'}`);
  return element('p', { class: 'word' }, where, where && parts.length ? ': ' : null, parts.join('; '));
}

function drawCheck(check, histories) {
  const rows = check.locations.map(at => {
    const history = histories?.get(placeOf(check.checkId, at));
    return [
      element('span', {}, at.satellite, element('span', { class: 'quiet' }, ` ${[at.region, at.environment ?? at.environmentId].filter(Boolean).join(' · ')}`)),
      element('span', {}, statusOf(at.status), at.flapping ? element('span', { class: 'quiet' }, ' flapping') : null),
      at.inconclusive ? `observer ill: ${at.inconclusive}` : at.message || null,
      at.latencyMs === null ? null : `${at.latencyMs} ms`,
      element('span', {}, at.receivedAt ? time(at.receivedAt, 'ago') : 'no result yet', at.fresh ? null : doubt(at)),
      history ? element('span', {}, picture(history), element('span', { class: 'quiet' }, summaryOf(history))) : null,
    ];
  });
  return element('div', { class: 'check evidence' },
    element('h3', {}, statusOf(check.status), check.check, check.maintenance ? ' (in maintenance)' : null),
    // What one place measured speaks for itself below.
    check.locations.length === 1 && check.locations[0].fresh ? null : element('p', { class: 'reason' }, check.reason),
    ...verdictsOf(check).map(drawWord).filter(Boolean),
    table(`What is measured of ${check.check}`, ['Satellite', 'Status', 'Message', '#Latency', 'Result', `Last ${SPAN / 3_600_000} hours`], rows));
}

// doubt says why a location does not count for the verdict.
function doubt(at) {
  if (at.inconclusive) return element('span', { class: 'quiet' }, ', not counted: inconclusive');
  if (!at.online) return element('span', { class: 'quiet' }, at.receivedAt ? ', not counted: satellite offline' : ', satellite offline');
  return at.receivedAt ? element('span', { class: 'quiet' }, ', not counted: too old') : null;
}

function showSystems() {
  const systems = state.systems.toSorted((a, b) =>
    WORST_FIRST.indexOf(a.status) - WORST_FIRST.indexOf(b.status) || byName(a.system, b.system));
  const present = new Set(systems.map(s => s.systemId));
  for (const [id, row] of systemRows) {
    if (present.has(id)) continue;
    row.details.remove();
    systemRows.delete(id);
  }
  const focus = document.activeElement;
  systems.forEach((system, i) => {
    let row = systemRows.get(system.systemId);
    if (!row) systemRows.set(system.systemId, row = new SystemRow());
    row.show(system);
    const there = $('systems').children[i] ?? null;
    if (there !== row.details) $('systems').insertBefore(row.details, there);
  });
  if (focus !== document.activeElement && focus?.isConnected) focus.focus({ preventScroll: true });
  showOrNote('systems', systems.length, 'No systems yet. “perigee apply” makes them from a file.');
}

function showOrNote(id, n, note) {
  $(id).hidden = n === 0;
  $(`${id}-note`).hidden = n > 0;
  setText($(`${id}-note`), note);
}

// table makes one that becomes a list of cards where it is narrow. A title that
// begins with # is of numbers.
function table(label, titles, rows) {
  const kind = title => (title.startsWith('#') ? 'number' : null);
  const name = title => title.replace('#', '');
  // The roles survive the display: block of the narrow layout.
  return element('table', { role: 'table', 'aria-label': label },
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' },
      ...titles.map(title => element('th', { role: 'columnheader', scope: 'col', class: kind(title) }, name(title))))),
    element('tbody', { role: 'rowgroup' }, ...rows.map(cells => element('tr', { role: 'row' },
      ...cells.map((cell, i) => element('td', { role: 'cell', class: kind(titles[i]), 'data-label': name(titles[i]) }, cell))))));
}

// showMaintenances lists those that last now, and until when.
function showMaintenances() {
  const rows = state.maintenances.toSorted((a, b) => byName(a.name, b.name)).map(m => [
    m.name, m.systems.names?.join(', ') || 'by their labels', m.checks?.join(', ') || 'all',
    m.mode, m.end ? eventTime(new Date(m.end)) : m.schedule ? 'as scheduled' : null, m.description || null,
  ]);
  $('maintenances').replaceChildren(table('Maintenances', ['Name', 'Systems', 'Checks', 'Mode', 'Until', 'Description'], rows));
  $('maintenances-section').hidden = rows.length === 0;
}

function showSatellites() {
  const rank = s => (s.status === 'online' ? 2 : s.lastConnectionEvent === null ? 1 : 0);
  const all = state.satellites.toSorted((a, b) => rank(a) - rank(b) || byName(a.name, b.name));
  const rows = all.map(s => [
    s.name,
    s.lastConnectionEvent === null ? statusOf('never', 'never connected') : statusOf(s.status),
    s.region || null,
    lastHeard(s),
    s.version,
    observer(s),
    unsent(s.pulse),
    s.appliedRevision === null ? null : behind(s) ? `${s.appliedRevision}, should be ${s.desiredRevision}` : `${s.desiredRevision}`,
  ]);
  $('satellites').replaceChildren(table('Satellites', ['Name', 'Status', 'Region', 'Last heard', 'Version', 'Observer', '#Unsent', '#Revision'], rows));
  showOrNote('satellites', all.length, 'No satellites yet. “perigee satellite create” makes one.');
}

// lastHeard says of an online satellite what is known without asking again: were it
// silent for longer, an event would have said so.
function lastHeard(s) {
  if (s.status === 'online') return `in the last ${span(s.offlineThresholdMs || OFFLINE_AFTER)}`;
  if (s.lastHeartbeatAt) return time(s.lastHeartbeatAt, 'ago');
  return s.lastConnectionEvent === 'disconnected' ? 'until it disconnected' : null;
}

// observer says how the satellite fares itself, and how its clock is off.
function observer(s) {
  const { offsetMs, uncertaintyMs } = s.pulse ?? {};
  const clock = offsetMs == null ? null : `clock ${Math.abs(offsetMs) < 0.5 ? '' : offsetMs < 0 ? '+' : '−'}${Math.abs(offsetMs).toFixed(0)} ± ${(uncertaintyMs ?? 0).toFixed(1)} ms`;
  if (!s.observer) return clock;
  const ill = s.observer.ill.map(i => i.kind);
  const title = s.observer.ill.map(i => `${i.kind}: ${i.detail ?? ''}`).join('\n');
  const status = ill.length ? statusOf('degraded', `ill: ${ill.join(', ')}`) : s.observer.clockSkewed ? statusOf('degraded', 'clock skewed') : 'well';
  return element('span', { title }, status, element('span', { class: 'quiet' }, clock && ` ${clock}`));
}

// unsent is how many results wait on the satellite.
function unsent(pulse) {
  if (!pulse) return null;
  const dropped = pulse.spoolDropped ? `, ${pulse.spoolDropped} dropped` : '';
  return `${pulse.spoolRecords ?? 0}${dropped}`;
}

function showEvents() {
  const told = state.events.map(event => [event, words(event)]).filter(([, text]) => text);
  $('events').hidden = told.length === 0;
  $('events-note').hidden = told.length > 0;
  $('events').replaceChildren(...told.map(([event, text]) => {
    const at = new Date(event.at);
    return element('li', {}, element('time', { datetime: event.at, title: at.toLocaleString() }, eventTime(at)), element('span', {}, text));
  }));
}

// words tells an event; '' when another event of the same change tells it better.
function words({ type, kind, entityId, payload, actor, next }) {
  const by = actor?.type === 'system' || !actor?.name ? '' : ` by ${actor.name}`;
  const known = payload ?? {};
  const satellite = known.region ? `${known.name} (${known.region})` : known.name ?? 'a satellite';
  const system = state.names.get(known.systemId) ?? 'a system';
  switch (type) {
    case 'satellite.connected': return `${satellite} connected`;
    case 'satellite.disconnected': return `${satellite} disconnected`;
    case 'satellite.heartbeat_lost': return `${satellite} went silent: no heartbeat`;
    case 'satellite.ill': return `${satellite} is ill itself: ${(known.ill ?? []).map(i => i.kind).join(', ')}`;
    case 'satellite.well': return `${satellite} is well again`;
    case 'satellite.clock_skew': return `the clock of ${satellite} is ${Math.abs(known.clockOffsetMs / 1000).toFixed(1)} s ${known.clockOffsetMs < 0 ? 'ahead' : 'behind'}`;
    case 'satellite.clock_right': return `the clock of ${satellite} is right again`;
    case 'region.ill': return `most satellites of ${known.region} are ill themselves: ${(known.satellites ?? []).join(', ')}`;
    case 'region.well': return `the satellites of ${known.region} are well again`;
    case 'satellite.created': return `satellite ${satellite} was added${by}`;
    case 'satellite.updated': return `satellite ${satellite} was changed${by}`;
    case 'satellite.removed': return `satellite ${satellite} was deleted${by}`;
    case 'satellite.token_rotated': return `satellite ${satellite} got a new token${by}`;
    case 'healthcheck.system_health_changed':
      return known.previousStatus ? `${system} went from ${known.previousStatus} to ${known.newStatus}` : `${system} is ${known.newStatus}`;
    case 'healthcheck.system_healthy':
    case 'healthcheck.system_degraded': return '';
    case 'healthcheck.check_degraded': {
      const of = state.systems?.find(s => s.systemId === known.systemId)?.checks.find(c => c.checkId === known.configurationId)?.check ?? 'a check';
      return known.previousStatus ? `${of} of ${system} went from ${known.previousStatus} to ${known.status}` : `${of} of ${system} is ${known.status}`;
    }
    case 'maintenance.started': return `maintenance ${known.name} began`;
    case 'maintenance.ended': return `maintenance ${known.name} ended`;
    case 'core.blind':
      return `no core was watching from ${clockTime(new Date(known.from))} to ${clockTime(new Date(known.to))}`;
    case 'entity.changed':
      if (kind !== 'health' || !next?.totalChecks) return '';
      return `${state.names.get(entityId) ?? system}: ${next.healthyChecks} of ${plural(next.totalChecks, 'check')} healthy`;
  }
  if (known.previousName) return `${kind} ${known.previousName} was renamed to ${known.name}${by}`;
  const verb = { created: 'was created', updated: 'was changed', deleted: 'was deleted' }[type.split('.')[1]];
  return verb ? `${kind} ${known.name ?? entityId} ${verb}${by}` : `${type} ${known.name ?? entityId}`;
}

// ---- begin

addEventListener('hashchange', enter);
if (!await enter()) start();
