import { Button } from '@mantine/core';
import { useBlocker } from '@tanstack/react-router';
import { createContext, type FormEvent, type ReactNode, useContext, useEffect, useRef, useState } from 'react';
import { type Operation, type Problem, queryClient, useMay, wordsOf } from '../api/client';
import { Dialog } from './dialog';
import { placed, says } from './wrong';

interface Wrongs {
  errors: { place: string; message: string }[];
  fields: Set<string>; // the places that have a field, which says what is wrong with it
  tell: (problem: unknown) => void;
}

const WrongsContext = createContext<Wrongs>({ errors: [], fields: new Set(), tell: () => undefined });

/** What the core found wrong at a place of the document, for the field that holds it; with `below` also what is in it. */
export function useWrong(place: string, below = false): string | undefined {
  const { errors, fields } = useContext(WrongsContext);
  const field = below ? `${place}*` : place;
  useEffect(() => {
    fields.add(field);
    return () => {
      fields.delete(field);
    };
  }, [fields, field]);
  const mine = errors.filter((e) => says(field, e.place));
  return mine.length ? mine.map((e) => e.message).join('; ') : undefined;
}

/** Tells the form what the core found wrong when it was asked for something else than to save. */
export const useTell = () => useContext(WrongsContext).tell;

/** Whether anything at or below the place is wrong. */
export function useAnyWrong(place: string): boolean {
  return useContext(WrongsContext).errors.some((e) => e.place.startsWith(place));
}

/**
 * A form that is sent to the core. What the core finds wrong stands at its field, and
 * what has no field stands above the button. Who leaves it with changes is asked.
 */
export function Form({
  save,
  button,
  cancel,
  cancelWord = 'Cancel',
  danger,
  disabled,
  dirty = false,
  touches,
  may: operation,
  placeOf = (location) => location,
  children,
}: {
  save: () => Promise<void>;
  button: string;
  cancel?: () => void;
  cancelWord?: string;
  danger?: boolean;
  disabled?: boolean;
  dirty?: boolean; // there are changes that would be lost
  touches: string; // what of the API has to be read again
  may?: Operation; // which operation it is, of which who may not do it sees what is there
  placeOf?: (location: string) => string; // a place of the request as one of the form
  children: ReactNode;
}) {
  const may = useMay();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const fields = useRef(new Set<string>());
  const done = useRef(false);
  useBlocker({
    shouldBlockFn: ({ current, next }) =>
      dirty &&
      !done.current &&
      current.pathname !== next.pathname &&
      !confirm('Leave without saving? What you have changed here is lost.'),
    enableBeforeUnload: () => dirty && !done.current,
  });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    done.current = true;
    try {
      await save();
      await queryClient.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).startsWith(touches) });
    } catch (error) {
      done.current = false;
      setProblem(error);
    } finally {
      setBusy(false);
    }
  };
  const errors = ((problem as Problem | null)?.errors ?? []).map((e) => ({
    place: placeOf(e.location ?? ''),
    message: e.message ?? '',
  }));
  const elsewhere = errors.filter((e) => !placed(e.place, fields.current));
  const words =
    problem == null ? '' : wordsOf({ ...(problem as Problem), errors: [], message: (problem as Error).message });
  return (
    <WrongsContext.Provider value={{ errors, fields: fields.current, tell: setProblem }}>
      <form className="stack" onSubmit={submit}>
        {children}
        {problem != null && (
          <div className="tone-bad" role="alert">
            {words}
            {errors.length > elsewhere.length && `${/[.!?]$/.test(words) ? '' : '.'} The fields say where.`}
            {elsewhere.length > 0 && (
              <ul>
                {elsewhere.map((e) => (
                  <li key={`${e.place}${e.message}`}>
                    {e.place && `${e.place}: `}
                    {e.message}
                  </li>
                ))}
              </ul>
            )}
          </div>
        )}
        <div className="row">
          {(!operation || may(operation)) && (
            <Button type="submit" loading={busy} color={danger ? 'red' : undefined} disabled={disabled}>
              {button}
            </Button>
          )}
          {cancel && (
            <Button variant="default" onClick={cancel}>
              {cancelWord}
            </Button>
          )}
        </div>
      </form>
    </WrongsContext.Provider>
  );
}

/** A dialog that does one thing, and stays when it could not be done. */
export function Doing({
  title,
  button,
  danger,
  disabled,
  close,
  run,
  touches,
  children,
  size,
  cancelWord,
}: {
  title: string;
  button: string;
  danger?: boolean;
  disabled?: boolean;
  close: () => void;
  cancelWord?: string;
  run: () => Promise<void>;
  touches: string;
  children: ReactNode;
  size?: string;
}) {
  return (
    <Dialog title={title} close={close} size={size}>
      <Form
        save={run}
        button={button}
        danger={danger}
        disabled={disabled}
        cancel={close}
        cancelWord={cancelWord}
        touches={touches}
      >
        {children}
      </Form>
    </Dialog>
  );
}
