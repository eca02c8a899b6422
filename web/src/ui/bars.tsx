import { clock } from './span';

/** A span of a timeline, in milliseconds since 1970, with its tone and what it says on hover. */
export interface Bar {
  from: number;
  to: number;
  tone: 'good' | 'warn' | 'bad' | 'none' | 'blind';
  title: string;
  height?: number; // 0 to 1; full when absent
}

/** What lay between two instants, one bar for each span; words beside it say the same. */
export function Bars({ from, to, bars, label }: { from: number; to: number; bars: Bar[]; label: string }) {
  const width = 1000;
  const x = (at: number) => ((Math.min(Math.max(at, from), to) - from) / (to - from)) * width;
  return (
    <div>
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
            >
              <title>{`${clock(bar.from)} to ${clock(bar.to)}: ${bar.title}`}</title>
            </rect>
          );
        })}
      </svg>
      <div className="bars-legend">
        <span>{clock(from)}</span>
        <span>{clock(to)}</span>
      </div>
    </div>
  );
}
