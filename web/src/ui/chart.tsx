import 'uplot/dist/uPlot.min.css';
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import { clock, duration, tick } from './span';

export interface Line {
  label: string;
  color: string; // a variable of theme.css
  values: (number | null)[];
}

/** Lines over time, in milliseconds. The same numbers stand in words beside it. */
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
          { label: 'At', value: (_, t, _series, i) => clock((i === null ? at[last] : t * 1000) ?? 0) },
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
    const watch = new ResizeObserver(() => plot.setSize({ width: node.clientWidth, height: 200 }));
    watch.observe(node);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [at, lines, from, to, colorScheme]);
  return <div className="chart" ref={box} role="img" aria-label={label} />;
}
