/**
 * Goes along what is drawn by keyboard, which is told what a pointer is told. It lies on
 * the drawing, unseen; the drawing is marked while it has the focus.
 */
export function Scrub({
  label,
  n,
  at,
  told,
  choose,
}: {
  label: string;
  n: number; // how many there are, the newest last
  at: number | null; // which is chosen
  told: string;
  choose: (at: number | null) => void;
}) {
  if (n === 0) return null;
  return (
    <input
      type="range"
      className="scrub"
      aria-label={label}
      aria-valuetext={told}
      min={0}
      max={n - 1}
      value={at ?? n - 1}
      onFocus={() => choose(n - 1)}
      onBlur={() => choose(null)}
      onChange={(e) => choose(Number(e.currentTarget.value))}
    />
  );
}
