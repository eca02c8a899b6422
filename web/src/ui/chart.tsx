import 'uplot/dist/uPlot.min.css';
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import { clock, duration } from './span';

export interface Line {
  label: string;
  color: string; // a variable of theme.css
  values: (number | null)[];
}

/** A tick of the axis of time by the clock; days by their date. */
const tickOf = (seconds: number, step: number) =>
  new Date(seconds * 1000).toLocaleString(
    undefined,
    step >= 86_400 ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  );

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
          { ...axis, values: (_, ticks, _axis, _space, step) => ticks.map((t) => tickOf(t, step)) },
          { ...axis, size: 62, values: (_, ticks) => ticks.map((t) => duration(t)) },
        ],
        scales: {
          x: { range: () => [from / 1000, to / 1000] },
          y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] },
        },
        series: [
          { value: (_, t) => (t ? clock(t * 1000) : '') },
          ...lines.map((l) => ({
            label: l.label,
            stroke: color(l.color),
            width: 1.5,
            spanGaps: false,
            value: (_: uPlot, v: number | null) => duration(v),
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
