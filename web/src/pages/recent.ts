const RESULTS: Record<string, string> = { h: 'healthy', d: 'degraded', u: 'unhealthy' };

/** The results that a location remembers, one letter each with the newest last, in words: the newest first, like ones together. */
export function groupsOf(recent: string): string[] {
  const groups: { word: string; n: number }[] = [];
  for (const letter of [...recent].reverse()) {
    const word = RESULTS[letter] ?? letter;
    const group = groups.at(-1);
    if (group?.word === word) group.n++;
    else groups.push({ word, n: 1 });
  }
  return groups.map(({ word, n }) => (n > 1 ? `${n} × ${word}` : word));
}
