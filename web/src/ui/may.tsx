import type { ReactNode } from 'react';
import { type Operation, useMay } from '../api/client';

/** Shows what leads to an operation to those who may do it. */
export function May({ to, children }: { to: Operation; children: ReactNode }) {
  return useMay()(to) ? children : null;
}
