import { Button, PasswordInput, TextInput } from '@mantine/core';
import { type ReactNode, useEffect, useState } from 'react';
import { type Problem, setUp, signIn, waysIn, wordsOf } from '../api/client';

type Way = 'setup' | 'password' | 'token';

/** The way in: by password, by token, or on a fresh core by the code that it printed. */
export function SignIn({
  message,
  code,
  entered,
}: {
  message: string;
  code: string;
  entered: (first: boolean) => void;
}) {
  const [way, setWay] = useState<Way | null>(code ? 'setup' : null);
  const [ways, setWays] = useState<Way[]>([]);
  const [form, setForm] = useState({ code, user: '', password: '', token: '' });
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState(message);
  useEffect(() => {
    void waysIn()
      .catch(() => ({ setup: false, users: true }))
      .then(({ setup, users }) => {
        const all: Way[] = setup ? ['setup', 'token'] : users ? ['password', 'token'] : ['token'];
        setWays(all);
        setWay((was) => (was && all.includes(was) ? was : (all[0] as Way)));
      });
  }, []);
  const set = (field: keyof typeof form) => (e: { currentTarget: { value: string } }) =>
    setForm({ ...form, [field]: e.currentTarget.value });
  if (!way) return <main />;
  const error = wrong ? <span role="alert">{wrong}</span> : null;
  return (
    <main className="sign-in">
      <form
        className="card"
        onSubmit={async (event) => {
          event.preventDefault();
          setBusy(true);
          setWrong('');
          try {
            if (way === 'setup')
              await setUp({ code: form.code.trim(), user: form.user.trim(), password: form.password });
            else if (way === 'password') await signIn({ user: form.user.trim(), password: form.password });
            else await signIn({ token: form.token.trim() });
            entered(way === 'setup');
          } catch (error) {
            setWrong(wordsOf({ ...(error as Problem) }));
          } finally {
            setBusy(false);
          }
        }}
      >
        <div className="body stack">
          <h1 className="brand">
            <img src="/favicon.svg" alt="" width="22" height="22" /> Perigee
          </h1>
          {way === 'setup' && (
            <>
              <p>Nobody administers this core yet. Create the administrator: that is you.</p>
              {!code && (
                <TextInput
                  label="Set-up code"
                  description="The core printed it when it started: look at its output."
                  required
                  autoComplete="off"
                  value={form.code}
                  onChange={set('code')}
                />
              )}
            </>
          )}
          {way !== 'token' && (
            <>
              <TextInput
                label="Name"
                required
                autoFocus
                autoComplete="username"
                value={form.user}
                onChange={set('user')}
              />
              <PasswordInput
                label="Password"
                description={way === 'setup' ? 'At least ten characters.' : undefined}
                required
                autoComplete={way === 'setup' ? 'new-password' : 'current-password'}
                value={form.password}
                onChange={set('password')}
                error={error}
              />
            </>
          )}
          {way === 'token' && (
            <PasswordInput
              label="API token"
              description="The core printed one when it first started; others are created on the page API tokens."
              autoComplete="current-password"
              required
              autoFocus
              value={form.token}
              onChange={set('token')}
              error={error}
            />
          )}
          <Button type="submit" loading={busy}>
            {way === 'setup' ? 'Create the administrator' : 'Sign in'}
          </Button>
          {ways.length > 1 && <Other ways={ways} way={way} choose={setWay} />}
        </div>
      </form>
    </main>
  );
}

const WORDS: Record<Way, ReactNode> = {
  setup: 'Create the administrator instead',
  password: 'Sign in with a password instead',
  token: 'Sign in with an API token instead',
};

function Other({ ways, way, choose }: { ways: Way[]; way: Way; choose: (way: Way) => void }) {
  return (
    <>
      {ways
        .filter((w) => w !== way)
        .map((w) => (
          <Button key={w} variant="subtle" onClick={() => choose(w)}>
            {WORDS[w]}
          </Button>
        ))}
    </>
  );
}
