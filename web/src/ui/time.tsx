import { clockAhead } from '../api/client';
import { useNow } from '../live/hooks';
import { absolute, span } from './span';

/** A moment by its distance, true to the second; the moment itself is on hover. */
export function Ago({ at, phrase = 'ago' }: { at: string | number; phrase?: 'ago' | 'for' | 'in' | 'bare' }) {
  const now = useNow();
  const passed = now + clockAhead - new Date(at).getTime();
  const words = phrase === 'in' ? span(-passed) : span(passed);
  return (
    <time dateTime={new Date(at).toISOString()} title={absolute(at)}>
      {phrase === 'ago' && `${words} ago`}
      {phrase === 'for' && `for ${words}`}
      {phrase === 'in' && (passed < 0 ? `in ${words}` : 'now')}
      {phrase === 'bare' && words}
    </time>
  );
}

/** A moment of today by the clock, an older one by its date. */
export function Moment({ at }: { at: string | number }) {
  const moment = new Date(at);
  const today = moment.toDateString() === new Date().toDateString();
  const text = today
    ? moment.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })
    : moment.toLocaleString(undefined, {
        day: 'numeric',
        month: 'short',
        hour: '2-digit',
        minute: '2-digit',
        hourCycle: 'h23',
      });
  return (
    <time dateTime={moment.toISOString()} title={absolute(at)}>
      {text}
    </time>
  );
}
