import { noteAnswer, type Problem, queryClient, wordsOf } from '../api/client';
import { patchFleet } from './fleet';
import { newest } from './happening';
import { MessageReader } from './message';
import { type Event, settled, staleAfter, staleAfterComment } from './stale';

const OPEN_LIMIT = 15_000;
const SILENCE_LIMIT = 40_000; // the core says something every 15 s
const GATHER = 250; // events come in bursts; read once for all of them
const MAX_PAUSE = 30_000;
export const KEPT_EVENTS = 200; // of each sort

/** How the stream is: what is shown is true while it is live, and was until `asOf` else. */
export type Live = { state: 'connecting' | 'live' | 'lost'; asOf: number | null; why: string };

/**
 * The one connection over which the core tells what happens. It keeps the answers in the
 * query cache true: it is opened first and everything is read once it is open, so that
 * nothing falls between the two, and each event names what is to be read again.
 */
class Stream {
  #ended: AbortController | null = null;
  #lastEventId = '';
  #stale = new Set<string>();
  #unseen = new Set<string>(); // stale too, and read when the page is looked at
  #satellites = new Set<string>();
  #reading = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #listeners = new Set<() => void>();

  live: Live = { state: 'connecting', asOf: null, why: '' };
  /** Newest first, each once; what was before the page came is read apart. */
  events: Event[] = [];

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #tell(change: Partial<Live> = {}): void {
    this.live = { ...this.live, ...change };
    for (const listener of this.#listeners) listener();
  }

  start(): void {
    if (this.#ended) return;
    this.#ended = new AbortController();
    document.addEventListener('visibilitychange', this.#seen, { signal: this.#ended.signal });
    void this.#follow(this.#ended.signal);
  }

  stop(): void {
    this.#ended?.abort();
    this.#ended = null;
    this.#lastEventId = '';
    this.#stale.clear();
    this.#unseen.clear();
    this.#satellites.clear();
    this.events = [];
    this.#tell({ state: 'connecting', asOf: null, why: '' });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      const began = this.live.state;
      try {
        await this.#listen(signal);
      } catch (error) {
        if (signal.aborted || (error as Problem).status === 401) return;
        failures = this.live.state === 'live' || began === 'live' ? 1 : failures + 1;
        this.#tell({ state: 'lost', why: wordsOf(error) });
      }
      await pause(Math.min(MAX_PAUSE, 1000 * 2 ** (failures - 1)) * (0.75 + Math.random() / 2), signal);
    }
  }

  /** Follows one connection; it always ends by throwing why it ended. */
  async #listen(signal: AbortSignal): Promise<never> {
    const mine = new AbortController();
    let overdue = setTimeout(() => mine.abort(new Error('The core does not answer.')), OPEN_LIMIT);
    try {
      const answer = await fetch('/api/v1/events/stream', {
        headers: this.#lastEventId ? { 'Last-Event-ID': this.#lastEventId } : {},
        signal: AbortSignal.any([signal, mine.signal]),
        cache: 'no-store',
      });
      noteAnswer(answer);
      if (!answer.ok || !answer.body)
        throw await answer.json().catch(() => ({ title: `The core answered ${answer.status}.` }));
      await queryClient.invalidateQueries();
      this.#tell({ state: 'live', asOf: Date.now(), why: '' });
      const text = new TextDecoder();
      const messages = new MessageReader();
      const reader = answer.body.getReader();
      for (;;) {
        clearTimeout(overdue);
        overdue = setTimeout(() => mine.abort(new Error('The core has gone silent.')), SILENCE_LIMIT);
        const { value, done } = await reader.read();
        if (done) throw new Error('The stream ended.');
        this.live.asOf = Date.now();
        for (const message of messages.take(text.decode(value, { stream: true }))) {
          if (message.id) this.#lastEventId = message.id;
          if (message.data) this.#hear(JSON.parse(message.data) as Event);
          else if (message.comment) this.#moved(staleAfterComment(message.comment));
        }
      }
    } catch (error) {
      throw mine.signal.aborted ? mine.signal.reason : error;
    } finally {
      clearTimeout(overdue);
      mine.abort();
    }
  }

  #hear(event: Event): void {
    if (!this.events.some((known) => known.seq === event.seq))
      this.events = newest([event, ...this.events], KEPT_EVENTS);
    if (event.kind.startsWith('satellite')) this.#satellites.add(event.entityId);
    this.#refresh(staleAfter(event));
    this.#tell();
  }

  /** What moved while nobody looks is read when somebody does. */
  #moved(paths: string[]): void {
    if (!document.hidden) this.#refresh(paths);
    else for (const path of paths) this.#unseen.add(path);
  }

  #seen = (): void => {
    if (document.hidden) return;
    this.#refresh([...this.#unseen]);
    this.#unseen.clear();
  };

  /** Reads again soon; what is asked for meanwhile is read together. */
  #refresh(paths: string[]): void {
    if (paths.length === 0 && this.#stale.size === 0) return;
    for (const path of paths) this.#stale.add(path);
    if (!this.#timer && !this.#reading) this.#timer = setTimeout(() => void this.#read(), GATHER);
  }

  async #read(): Promise<void> {
    const stale = new Set(this.#stale);
    const satellites = [...this.#satellites];
    this.#stale.clear();
    this.#satellites.clear();
    this.#timer = undefined;
    this.#reading = true;
    try {
      // A fleet of ten thousand is not read again because one of them came or went.
      const patched = satellites.length > 0 && (await patchFleet(satellites));
      await queryClient.invalidateQueries({
        predicate: ({ queryKey, state }) => {
          const [, path, how] = queryKey as [string, string, { all?: boolean }?];
          return stale.has(path) && !settled(path, state.data) && !(patched && path === '/satellites' && how?.all);
        },
      });
    } catch {
      // Each query says itself that it could not be read.
    } finally {
      this.#reading = false;
    }
    if (this.#stale.size) this.#refresh([]);
  }
}

export const stream = new Stream();

/** Waits, but not for long when the machine has just come back online. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
    signal.addEventListener('abort', done);
  });
}
