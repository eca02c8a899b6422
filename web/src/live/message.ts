/** One server-sent message. A comment has neither id nor data. */
export interface Message {
  id: string;
  data: string;
  comment: string;
}

/**
 * Makes messages of the text of a stream, however it is cut. An id without data is
 * delivered too, because it counts as the last one; so is a comment, as a sign of life.
 */
export class MessageReader {
  #rest = '';
  #id = '';
  #comment = '';
  #data: string[] = [];

  take(text: string): Message[] {
    const messages: Message[] = [];
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const raw of lines) {
      const line = raw.replace(/\r$/, '');
      if (line !== '') {
        this.#line(line);
        continue;
      }
      if (this.#id || this.#data.length || this.#comment) {
        messages.push({ id: this.#id, data: this.#data.join('\n'), comment: this.#comment });
      }
      this.#id = this.#comment = '';
      this.#data = [];
    }
    return messages;
  }

  #line(line: string): void {
    if (line.startsWith(':')) {
      this.#comment = line.slice(1).trim();
      return;
    }
    const [, field, value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === 'id') this.#id = value;
    if (field === 'data') this.#data.push(value);
  }
}
