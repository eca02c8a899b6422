// biome-ignore lint/suspicious/noExplicitAny: a definition that is being typed may be anything
type Any = any;

/** A line of an outline with what belongs below it. */
export interface Said {
  text: string;
  below: Said[];
}

const line = (text: string, below: Said[] = []): Said => ({ text, below });
const list = (value: Any): Any[] => (Array.isArray(value) ? value : []);
const time = (d: Any): string =>
  typeof d === 'object' && d !== null
    ? ['hours', 'minutes', 'seconds', 'template'].flatMap((unit) => (d[unit] ? [`${d[unit]} ${unit}`] : [])).join(' ')
    : String(d);

/** Tells a definition as people would: when it fires, under which conditions, and what it does then. */
export function outlineOf(definition: unknown): Said[] {
  const d = (definition ?? {}) as Any;
  return [
    line(
      'When',
      list(d.triggers).map((t) =>
        line(
          [
            t?.event ?? 'an event that is not named',
            t?.config && `(${short(t.config)})`,
            t?.filter && `if ${t.filter}`,
            t?.window && `${t.window.count} times within ${t.window.minutes} minutes`,
            t?.for && `and it stays so for ${time(t.for)}`,
          ]
            .filter(Boolean)
            .join(' '),
        ),
      ),
    ),
    ...(list(d.conditions).length ? [line('Provided that', list(d.conditions).map(conditionOf))] : []),
    line('Then', list(d.actions).map(actionOf)),
    ...(d.mode && d.mode !== 'single' ? [line(`While one runs, others are ${MODES[d.mode] ?? d.mode}`)] : []),
  ];
}

const MODES: Record<string, string> = {
  parallel: 'run beside it',
  queued: 'queued behind it',
  restart: 'begun instead of it',
};

const short = (value: Any): string =>
  Object.entries(value ?? {})
    .map(([k, v]) => `${k}: ${typeof v === 'object' ? JSON.stringify(v) : v}`)
    .join(', ')
    .slice(0, 160);

function conditionOf(c: Any): Said {
  if (typeof c !== 'object' || c === null) return line(String(c));
  if (c.and) return line('all of', list(c.and).map(conditionOf));
  if (c.or) return line('one of', list(c.or).map(conditionOf));
  if (c.not !== undefined) return line('not', [conditionOf(c.not)]);
  if (c.time) return line(`the time is ${short(c.time)}`);
  if (c.state) return line(`${c.state.entity} is ${c.state.status}${c.state.for ? ` for ${time(c.state.for)}` : ''}`);
  if (c.numeric_state) return line(`the number is ${short(c.numeric_state)}`);
  return line(short(c));
}

function actionOf(a: Any): Said {
  if (typeof a !== 'object' || a === null) return line(String(a));
  const off = a.enabled === false ? ' (not enabled)' : '';
  const steps = (of: Any) => list(of).map(actionOf);
  if (a.action) return line(`${a.action}${a.config ? `: ${short(a.config)}` : ''}${off}`);
  if (a.choose)
    return line(`choose${off}`, [
      ...list(a.choose).map((c) => line(`if ${conditionOf(c?.when).text}`, steps(c?.sequence))),
      ...(a.else ? [line('else', steps(a.else))] : []),
    ]);
  if (a.parallel) return line(`at once${off}`, steps(a.parallel));
  if (a.sequence) return line(`in order${off}`, steps(a.sequence));
  if (a.delay) return line(`wait ${time(a.delay)}${off}`);
  if (a.repeat) {
    const { sequence, ...how } = a.repeat;
    return line(`repeat (${short(how)})${off}`, steps(sequence));
  }
  if (a.variables) return line(`remember ${Object.keys(a.variables).join(', ')}${off}`);
  if (a.condition !== undefined) return line(`go on only if${off}`, [conditionOf(a.condition)]);
  if (a.stop) return line(`stop${a.stop.reason ? `: ${a.stop.reason}` : ''}${off}`);
  if (a.wait_for_trigger) return line(`wait for ${a.wait_for_trigger.event}${off}`);
  if (a.wait_until) return line(`wait until${off}`, [conditionOf(a.wait_until.condition)]);
  return line(short(a));
}
