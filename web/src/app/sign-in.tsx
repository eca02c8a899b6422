import { Button, PasswordInput } from '@mantine/core';
import { useState } from 'react';
import { signIn, wordsOf } from '../api/client';

export function SignIn({ message, entered }: { message: string; entered: () => void }) {
  const [token, setToken] = useState('');
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState(message);
  return (
    <main className="sign-in">
      <form
        className="card"
        onSubmit={async (event) => {
          event.preventDefault();
          setBusy(true);
          setWrong('');
          try {
            await signIn(token.trim());
            entered();
          } catch (error) {
            setWrong(wordsOf(error));
          } finally {
            setBusy(false);
          }
        }}
      >
        <div className="body stack">
          <h1 className="brand">
            <img src="/favicon.svg" alt="" width="22" height="22" /> Perigee
          </h1>
          <PasswordInput
            label="API token"
            description="The core printed one when it first started."
            autoComplete="current-password"
            required
            autoFocus
            value={token}
            onChange={(e) => setToken(e.currentTarget.value)}
            error={wrong ? <span role="alert">{wrong}</span> : null}
          />
          <Button type="submit" loading={busy}>
            Sign in
          </Button>
        </div>
      </form>
    </main>
  );
}
