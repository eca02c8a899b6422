import { type PointerEvent, useMemo, useState } from 'react';
import { Scrub } from './scrub';
import { mark } from './span';

/** A span of a timeline, in milliseconds since 1970, with its tone and what is said of it. */
export interface Bar {
  from: number;
  to: number;
  tone: 'good' | 'warn' | 'bad' | 'none' | 'blind';
  title: string;
  height?: number; // 0 to 1; full when absent
}

/** A moment that is pointed at, or the bar that begins there. */
interface Chosen {
  at: number;
  tone?: Bar['tone'];
}

/** Which bar is chosen: by its time, for while one reads there may come others. -1 where there is none. */
export function placeOf({ at, tone }: Chosen, inOrder: Bar[]): number {
  const same = inOrder.findIndex((bar) => bar.from === at && bar.tone === tone);
  return same < 0 ? inOrder.findLastIndex((bar) => bar.from <= at && at < bar.to) : same;
}

/** What a bar says when it is chosen, on an axis of that length. */
export const saidOf = (bar: Bar, axis: number): string => {
  const seconds = bar.to - bar.from < 120_000;
  return `${mark(bar.from, axis, seconds)} to ${mark(bar.to, axis, seconds)}: ${bar.title}`;
};

/**
 * What lay between two instants, one bar for each span; words beside it say the same. What
 * one bar says stands below while it is chosen: by pointer, by touch, or by arrow keys.
 */
export function Bars({ from, to, bars, label }: { from: number; to: number; bars: Bar[]; label: string }) {
  const width = 1000;
  const x = (at: number) => ((Math.min(Math.max(at, from), to) - from) / (to - from)) * width;
  const inOrder = useMemo(() => bars.toSorted((a, b) => a.from - b.from), [bars]);
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const at = chosen ? placeOf(chosen, inOrder) : -1;
  const bar = inOrder[at];
  const point = (e: PointerEvent<HTMLElement>) => {
    const box = e.currentTarget.getBoundingClientRect();
    setChosen({ at: from + ((e.clientX - box.left) / box.width) * (to - from) });
  };
  const said = bar ? saidOf(bar, to - from) : '';
  return (
    <div className="scrubbed">
      <div
        className="drawn"
        onPointerDown={point}
        onPointerMove={point}
        onPointerLeave={(e) => e.pointerType === 'mouse' && setChosen(null)}
      >
        <svg className="bars" viewBox={`0 0 ${width} 26`} preserveAspectRatio="none" role="img" aria-label={label}>
          <rect className="ground" width={width} height={26} />
          {bars.map((bar) => {
            const height = 6 + 20 * (bar.height ?? 1);
            return (
              <rect
                key={`${bar.from}-${bar.tone}`}
                x={x(bar.from)}
                y={26 - height}
                width={Math.max(0.8, x(bar.to) - x(bar.from) - 0.6)}
                height={height}
                data-tone={bar.tone}
              />
            );
          })}
          {bar && <rect className="chosen" x={x(bar.from)} width={Math.max(3, x(bar.to) - x(bar.from))} height={26} />}
        </svg>
        <Scrub
          label={`${label}; bar by bar`}
          n={inOrder.length}
          at={at < 0 ? null : at}
          told={said}
          choose={(i) => {
            const next = i === null ? undefined : inOrder[i];
            setChosen(next ? { at: next.from, tone: next.tone } : null);
          }}
        />
      </div>
      {said ? (
        <div className="bars-legend">{said}</div>
      ) : (
        <div className="bars-legend">
          <span>{mark(from, to - from)}</span>
          <span>{mark(to, to - from)}</span>
        </div>
      )}
    </div>
  );
}
