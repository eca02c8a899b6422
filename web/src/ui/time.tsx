import { useLocalStorage } from '@mantine/hooks';
import { clockAhead } from '../api/client';
import { useNow } from '../live/hooks';
import { absolute, span } from './span';

/** Whether all moments are shown by date and clock. What is on hover only, nobody finds by keyboard or on a phone. */
export const useExactTimes = () => useLocalStorage({ key: 'perigee-exact-times', defaultValue: false });

/** A moment by its distance, true to the second; the moment itself is on hover. */
export function Ago({ at, phrase = 'ago' }: { at: string | number; phrase?: 'ago' | 'for' | 'in' | 'bare' }) {
  const now = useNow();
  const [exact] = useExactTimes();
  const passed = now + clockAhead - new Date(at).getTime();
  const words = phrase === 'in' ? span(-passed) : span(passed);
  return (
    <time dateTime={new Date(at).toISOString()} title={absolute(at)}>
      {exact ? absolute(at) : inWords(phrase, words, passed)}
    </time>
  );
}

function inWords(phrase: 'ago' | 'for' | 'in' | 'bare', words: string, passed: number): string {
  if (phrase === 'in') return passed < 0 ? `in ${words}` : 'now';
  return { ago: `${words} ago`, for: `for ${words}`, bare: words }[phrase];
}

/** A moment of today by the clock, an older one by its date. */
export function Moment({ at }: { at: string | number }) {
  const moment = new Date(at);
  const [exact] = useExactTimes();
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
      {exact ? absolute(at) : text}
    </time>
  );
}
