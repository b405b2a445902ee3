/** queue — first in, first out, in constant time (Array#shift moves the whole array once it is long). */

export interface Queue<T> {
  readonly length: number;
  push(item: T): void;
  shift(): T | undefined;
}

export function queue<T>(): Queue<T> {
  let items: T[] = [];
  let head = 0;
  return {
    get length() {
      return items.length - head;
    },
    push: (item) => void items.push(item),
    shift() {
      if (head === items.length) return undefined;
      const item = items[head];
      items[head++] = undefined as T;
      if (head > 1024 && head * 2 > items.length) {
        items = items.slice(head);
        head = 0;
      }
      return item;
    },
  };
}
