import { Modal } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';

/** A dialog that is open while it is mounted. When it goes, what had the focus before has it again. */
export function Dialog({
  title,
  close,
  size,
  keep = false,
  children,
}: {
  title: string;
  close: () => void;
  size?: string;
  keep?: boolean; // it has something that is shown this once: only its buttons close it
  children: ReactNode;
}) {
  useEffect(() => {
    const before = document.activeElement;
    return () => {
      if (document.activeElement === document.body && before instanceof HTMLElement && before.isConnected)
        before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <Modal
      opened
      onClose={close}
      title={title}
      size={size}
      closeOnClickOutside={!keep}
      closeOnEscape={!keep}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {children}
    </Modal>
  );
}
