import { RouterProvider } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api, onSignedOut, queryClient, signIn, wordsOf } from '../api/client';
import { stream } from '../live/stream';
import { router } from './router';
import { SignIn } from './sign-in';

type Session = { state: 'unknown' | 'in' | 'out'; message: string; code?: string };

/** Who is signed in sees the pages, everybody else the way in. */
export function App() {
  const [session, setSession] = useState<Session>({ state: 'unknown', message: '' });
  useEffect(() => {
    const off = onSignedOut(() => {
      stream.stop();
      queryClient.clear();
      setSession((was) => ({
        state: 'out',
        message: was.state === 'in' ? 'Your session has ended; sign in again.' : was.message,
      }));
    });
    void enter().then(setSession);
    return off;
  }, []);
  useEffect(() => {
    if (session.state === 'in') stream.start();
  }, [session.state]);
  if (session.state === 'in') return <RouterProvider router={router} />;
  if (session.state === 'out')
    return (
      <SignIn
        message={session.message}
        code={session.code ?? ''}
        entered={(first) => {
          if (first) history.replaceState(null, '', '/welcome');
          setSession({ state: 'in', message: '' });
        }}
      />
    );
  return (
    <main>
      <p className="notice" role="status">
        Connecting…
      </p>
    </main>
  );
}

/** Takes a token or set-up code that the address brings, and else asks whether there is a session. */
async function enter(): Promise<Session> {
  const brought = new URLSearchParams(location.hash.slice(1));
  const token = brought.get('token');
  const code = brought.get('setup');
  if (token || code) history.replaceState(null, '', location.pathname + location.search);
  if (code) return { state: 'out', message: '', code };
  if (token) {
    try {
      await signIn({ token });
    } catch (error) {
      return { state: 'out', message: wordsOf(error) };
    }
  }
  const { error, response } = await api.GET('/regions', {}).catch((error) => ({ error, response: undefined }));
  return error && response?.status === 401 ? { state: 'out', message: '' } : { state: 'in', message: '' };
}
