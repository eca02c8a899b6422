import 'uplot/dist/uPlot.min.css';
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import { Scrub } from './scrub';
import { duration, mark, tick } from './span';

export interface Line {
  label: string;
  color: string; // a variable of theme.css
  values: (number | null)[];
}

/**
 * Lines over time, in milliseconds. The same numbers stand in words beside it; those of one
 * moment stand in the legend while it is pointed at, or chosen by arrow keys.
 */
export default function Chart({
  at,
  lines,
  from,
  to,
  label,
}: {
  at: number[];
  lines: Line[];
  from: number;
  to: number;
  label: string;
}) {
  const box = useRef<HTMLDivElement>(null);
  const drawn = useRef<uPlot>(null);
  const [chosen, setChosen] = useState<number | null>(null);
  const colorScheme = useComputedColorScheme('light');
  // biome-ignore lint/correctness/useExhaustiveDependencies: colours are read anew when the scheme changes
  useEffect(() => {
    const node = box.current;
    if (!node) return;
    // What the legend says while nothing is pointed at: the newest.
    const last = at.findLastIndex((_, i) => lines.some((l) => l.values[i] !== null));
    const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {
      stroke: color('--quiet'),
      grid: { stroke: color('--line'), width: 1 },
      ticks: { stroke: color('--line'), width: 1 },
    };
    const plot = new uPlot(
      {
        width: node.clientWidth,
        height: 200,
        cursor: { y: false },
        axes: [
          { ...axis, values: (_, ticks, _axis, _space, step) => ticks.map((t) => tick(t, step)) },
          { ...axis, size: 62, values: (_, ticks) => ticks.map((t) => (t ? duration(t) : '0')) },
        ],
        scales: {
          x: { range: () => [from / 1000, to / 1000] },
          y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] },
        },
        series: [
          { label: 'At', value: (_, t, _series, i) => mark((i === null ? at[last] : t * 1000) ?? 0, to - from) },
          ...lines.map((l) => ({
            label: l.label,
            stroke: color(l.color),
            width: 1.5,
            spanGaps: false,
            value: (_: uPlot, v: number | null, _series: number, i: number | null) =>
              duration(i === null ? l.values[last] : v) || '–',
          })),
        ],
      },
      [at.map((t) => t / 1000), ...lines.map((l) => l.values)],
      node,
    );
    drawn.current = plot;
    const watch = new ResizeObserver(() => plot.setSize({ width: node.clientWidth, height: 200 }));
    watch.observe(node);
    return () => {
      watch.disconnect();
      drawn.current = null;
      plot.destroy();
    };
  }, [at, lines, from, to, colorScheme]);
  const choose = (i: number | null) => {
    setChosen(i);
    const plot = drawn.current;
    const left = i === null ? -10 : plot?.valToPos((at[i] ?? 0) / 1000, 'x');
    if (left !== undefined) plot?.setCursor({ left, top: i === null ? -10 : 0 });
  };
  const moment = chosen === null ? undefined : at[chosen];
  return (
    <div className="scrubbed">
      <div className="drawn">
        <div className="chart" ref={box} role="img" aria-label={label} />
        <Scrub
          label={`${label}; moment by moment`}
          n={at.length}
          at={chosen}
          told={
            moment === undefined
              ? ''
              : [
                  mark(moment, to - from),
                  ...lines.map((l) => `${l.label} ${duration(l.values[chosen as number]) || 'nothing'}`),
                ].join(', ')
          }
          choose={choose}
        />
      </div>
    </div>
  );
}
