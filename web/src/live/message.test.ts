import { expect, test } from 'vitest';
import { type Message, MessageReader } from './message';

const STREAM =
  'id: 4\n: welcome\n\nid: 5\nevent: x\ndata: {"a":1}\n\n: still here\n\nid: 6\r\ndata: one\r\ndata: two\r\n\r\n';
const WANT: Message[] = [
  { id: '4', data: '', comment: 'welcome' },
  { id: '5', data: '{"a":1}', comment: '' },
  { id: '', data: '', comment: 'still here' },
  { id: '6', data: 'one\ntwo', comment: '' },
];

test('messages are the same however the stream is cut', () => {
  for (const size of [1, 2, 3, 7, STREAM.length]) {
    const reader = new MessageReader();
    const got: Message[] = [];
    for (let i = 0; i < STREAM.length; i += size) got.push(...reader.take(STREAM.slice(i, i + size)));
    expect(got, `pieces of ${size}`).toEqual(WANT);
  }
});
