import { RouterProvider } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api, onSignedOut, queryClient, signIn, wordsOf } from '../api/client';
import { stream } from '../live/stream';
import { router } from './router';
import { SignIn } from './sign-in';

type Session = { state: 'unknown' | 'in' | 'out'; message: string };

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
    return <SignIn message={session.message} entered={() => setSession({ state: 'in', message: '' })} />;
  return (
    <main>
      <p className="notice" role="status">
        Connecting…
      </p>
    </main>
  );
}

/** Takes a token that the address brings, and else asks whether there is a session. */
async function enter(): Promise<Session> {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) {
    history.replaceState(null, '', location.pathname + location.search);
    try {
      await signIn(token);
    } catch (error) {
      return { state: 'out', message: wordsOf(error) };
    }
  }
  const { error, response } = await api.GET('/regions', {}).catch((error) => ({ error, response: undefined }));
  return error && response?.status === 401 ? { state: 'out', message: '' } : { state: 'in', message: '' };
}
