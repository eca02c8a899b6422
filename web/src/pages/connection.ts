import type { Schemas } from '../api/client';
import type { Bar } from '../ui/bars';
import { span } from '../ui/span';

type Transition = Pick<Schemas['Transition'], 'field' | 'to' | 'at'>;

const SAID: Record<string, { tone: Bar['tone']; word: string }> = {
  connected: { tone: 'good', word: 'connected' },
  disconnected: { tone: 'bad', word: 'disconnected' },
  heartbeat_lost: { tone: 'bad', word: 'silent, no heartbeat' },
};

/** A change of the connection: when, and what it was from then on. */
export interface Edge {
  at: number;
  edge: string;
}

/** The edges of a connection, oldest first, from its transitions, newest first. */
export function edgesOf(transitions: Transition[]): Edge[] {
  return transitions
    .filter((t) => t.field === 'lastEvent')
    .map((t) => ({ at: Date.parse(t.at), edge: t.to }))
    .sort((a, b) => a.at - b.at);
}

/** Spans between edges as bars; before the first nothing is known. */
export function connectionBars(edges: Edge[], from: number, to: number): Bar[] {
  return edges.flatMap(({ at, edge }, i) => {
    const end = edges[i + 1]?.at ?? to;
    if (end <= from || at >= to) return [];
    const said = SAID[edge] ?? { tone: 'none' as const, word: edge };
    return [
      { from: Math.max(at, from), to: Math.min(end, to), tone: said.tone, title: `${said.word} for ${span(end - at)}` },
    ];
  });
}

export interface Blind {
  from: number;
  to: number;
}

/** Spans in which no core was looking: what was there then is not known. */
export function blindBars(blind: Blind[], from: number, to: number): Bar[] {
  return blind
    .filter((b) => b.to > from && b.from < to)
    .map((b) => ({
      from: Math.max(b.from, from),
      to: Math.min(b.to, to),
      tone: 'blind' as const,
      title: `no core was looking for ${span(b.to - b.from)}`,
    }));
}
