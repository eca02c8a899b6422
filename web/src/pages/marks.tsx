import type { Schemas } from '../api/client';
import { Status } from '../ui/status';

/** What is to be known of a verdict besides its status: that it is in doubt, or that an observer is ill. */
export function Marks({ of: c }: { of: Schemas['CheckStatus'] }) {
  const ill = (c.locations ?? []).filter((at) => at.inconclusive).map((at) => at.satellite);
  return (
    <>
      {(c.suspect || c.environments?.some((e) => e.suspect)) && <Status of="suspect">suspect: others are asked</Status>}{' '}
      {ill.length > 0 && <Status of="ill">observer ill: {ill.join(', ')}</Status>}
    </>
  );
}
